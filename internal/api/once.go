package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/idempotency"
)

// Calls runs a creating call once per Idempotency-Key.
type Calls interface {
	Do(ctx context.Context, c idempotency.Call, run func(context.Context) (idempotency.Answer, error)) (a idempotency.Answer, replayed bool, err error)
}

const (
	keyHeader      = "Idempotency-Key"
	replayedHeader = "Idempotency-Replayed"
)

// creates reports whether an operation creates something: that is what its
// answer says, 201 Created or 202 Accepted. Each such POST takes an
// Idempotency-Key; nobody has to remember to say so.
func creates(op *huma.Operation) bool {
	return op.Method == http.MethodPost && (op.DefaultStatus == http.StatusCreated || op.DefaultStatus == http.StatusAccepted)
}

// onceKey carries what a creating operation has to know of its call.
type onceKey struct{}

type onceCall struct {
	key, path string
	given     bool
	replayed  func() // marks the answer as that of an earlier call
}

// keepKey hands the Idempotency-Key on to the operation.
func keepKey(ctx huma.Context, next func(huma.Context)) {
	c := onceCall{path: strings.ToLower(ctx.URL().Path), replayed: func() { ctx.SetHeader(replayedHeader, "true") }}
	ctx.EachHeader(func(name, value string) {
		if strings.EqualFold(name, keyHeader) {
			c.key, c.given = value, true
		}
	})
	next(huma.WithValue(ctx, onceKey{}, c))
}

// markReplayed says that this answer is the one of an earlier call.
func markReplayed(ctx context.Context) {
	if c, ok := ctx.Value(onceKey{}).(onceCall); ok {
		c.replayed()
	}
}

// once runs an operation, or gives the answer that it gave before under the
// same key. An operation that takes the key itself is left alone.
func once[I, O any](a *API, op *huma.Operation, h func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	_, itself := typeOf[I]().FieldByName("IdempotencyKey")
	if !creates(op) || itself {
		return h
	}
	return func(ctx context.Context, in *I) (*O, error) {
		c, _ := ctx.Value(onceKey{}).(onceCall)
		if !c.given {
			return h(ctx, in)
		}
		request, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write the request down: %w", err)
		}
		var out *O
		call := idempotency.Call{Caller: callerName(ctx), Path: c.path, Key: c.key, Request: request}
		answer, replayed, err := a.Calls.Do(ctx, call, func(ctx context.Context) (idempotency.Answer, error) {
			var err error
			if out, err = h(ctx, in); err != nil {
				return idempotency.Answer{}, err
			}
			body, err := json.Marshal(withoutOnce(bodyOf(out)).Interface())
			return idempotency.Answer{Status: op.DefaultStatus, Body: body}, err
		})
		if err != nil || !replayed {
			return out, err
		}
		out = new(O)
		if err := json.Unmarshal(answer.Body, bodyOf(out).Addr().Interface()); err != nil {
			return nil, fmt.Errorf("read the answer that was kept: %w", err)
		}
		c.replayed()
		return out, nil
	}
}

// withoutOnce is a copy of an answer without the members that are tagged
// once:"true": secrets that are shown a single time.
func withoutOnce(v reflect.Value) reflect.Value {
	clean := reflect.New(v.Type()).Elem()
	clean.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported():
			case f.Tag.Get("once") == "true":
				clean.Field(i).SetZero()
			default:
				clean.Field(i).Set(withoutOnce(v.Field(i)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			clean = reflect.New(v.Type().Elem())
			clean.Elem().Set(withoutOnce(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			clean = reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			for i := range v.Len() {
				clean.Index(i).Set(withoutOnce(v.Index(i)))
			}
		}
	}
	return clean
}

// describeKey adds the header to an operation's description.
func describeKey(op *huma.Operation) {
	longest := idempotency.MaxKey
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: keyHeader, In: "header", Example: "4f7c2f0e-9b1d-4c55-8a2e-6d1c3f8a9b70",
		Description: "Makes the call happen once, however often it is sent: a repetition with the same key and body gets the first answer, without secrets that are shown once. " +
			"Make a fresh key, such as a UUID, for every request.",
		Schema: &huma.Schema{Type: "string", MaxLength: &longest},
	})
}
