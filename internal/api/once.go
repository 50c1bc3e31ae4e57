package api

import (
	"context"
	"encoding/json"
	"fmt"
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

// creatingMark is where an operation's metadata says that it creates something.
const creatingMark = "creating"

// creating registers an operation that creates something, with the status of its
// answer: it takes an Idempotency-Key.
func creating(status int) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.DefaultStatus, op.Metadata = status, map[string]any{creatingMark: true}
	}
}

// creates reports whether an operation was registered as one that creates.
func creates(op *huma.Operation) bool { return op.Metadata[creatingMark] != nil }

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
// same key. An operation that takes the key itself, or writes its answer itself,
// is left alone.
func once[I, O any](a *API, op *huma.Operation, h func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	_, itself := typeOf[I]().FieldByName("IdempotencyKey")
	if !creates(op) || itself || typeOf[O]() == typeOf[huma.StreamResponse]() {
		return h
	}
	return func(ctx context.Context, in *I) (*O, error) {
		c, _ := ctx.Value(onceKey{}).(onceCall)
		if !c.given {
			return h(ctx, in)
		}
		var out *O
		kept, err := a.keep(ctx, c, in, op.DefaultStatus, func(ctx context.Context) (reflect.Value, error) {
			var err error
			if out, err = h(ctx, in); err != nil {
				return reflect.Value{}, err
			}
			return bodyOf(out), nil
		})
		if err != nil || kept == nil {
			return out, err
		}
		out = new(O)
		if err := json.Unmarshal(kept, bodyOf(out).Addr().Interface()); err != nil {
			return nil, fmt.Errorf("read the answer that was kept: %w", err)
		}
		return out, nil
	}
}

// keep runs a call whose answer is kept under its key; of one that ran before it
// gives the answer that was kept. What the caller may do belongs to the request: a
// replay asks nothing, so the answer is only for who may still do the same.
func (a *API) keep(ctx context.Context, c onceCall, in any, status int, run func(context.Context) (body reflect.Value, err error)) (kept []byte, err error) {
	by := caller(ctx)
	request, err := json.Marshal([]any{in, by.May, by.Mailboxes, by.All})
	if err != nil {
		return nil, fmt.Errorf("write the request down: %w", err)
	}
	call := idempotency.Call{Caller: callerName(ctx), Path: c.path, Key: c.key, Request: request}
	answer, replayed, err := a.Calls.Do(ctx, call, func(ctx context.Context) (idempotency.Answer, error) {
		body, err := run(ctx)
		if err != nil {
			return idempotency.Answer{}, err
		}
		clean, err := json.Marshal(withoutOnce(body).Interface())
		return idempotency.Answer{Status: status, Body: clean}, err
	})
	if err != nil || !replayed {
		return nil, err
	}
	c.replayed()
	return answer.Body, nil
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
