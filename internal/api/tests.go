package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// TestRequest asks for the ladder.
type TestRequest struct {
	SendTo string `json:"send_to,omitempty" doc:"Send one real message to this address at the end."`
}

// TestResult is the ladder, climbed.
type TestResult struct {
	OK    bool            `json:"ok"`
	Rungs []diagnose.Rung `json:"rungs"`
}

// testTime bounds one climb.
const testTime = 3 * time.Minute

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func (a *API) tests() {
	register(a, "test-mailbox", http.MethodPost, "/v1/mailboxes/{address}/test", "Climb from the name look-up to the opened mailbox; with Accept: text/event-stream each rung as it is climbed", "Diagnosis", a.test, produces[TestResult](a, eventStream))
	register(a, "inspect-token", http.MethodPost, "/v1/inspect", "Whose token is this, for what, until when, and what is wrong with it", "Diagnosis", a.inspect)
}

func (a *API) test(ctx context.Context, in *struct {
	ByAddress
	Accept string       `header:"Accept" hidden:"true"`
	Body   *TestRequest `required:"false"`
},
) (*huma.StreamResponse, error) {
	m, err := a.find(ctx, in.Address, access.Read)
	if err != nil {
		return nil, err
	}
	o := diagnose.TestOptions{}
	if in.Body != nil && in.Body.SendTo != "" {
		if err := caller(ctx).Allows(access.Send, m.Address); err != nil {
			return nil, err
		}
		o.SendTo = in.Body.SendTo
	}
	o.By = caller(ctx).Actor
	stream := wantsStream(in.Accept)
	return &huma.StreamResponse{Body: func(c huma.Context) {
		ctx, cancel := context.WithTimeout(c.Context(), testTime)
		defer cancel()
		w := c.BodyWriter()
		flush := func() {}
		if rw, ok := w.(http.ResponseWriter); ok {
			rc := http.NewResponseController(rw)
			_ = rc.SetWriteDeadline(time.Now().Add(testTime + 10*time.Second))
			flush = func() { _ = rc.Flush() }
		}
		if stream {
			c.SetHeader("Content-Type", eventStream)
			flush()
		}
		result := TestResult{Rungs: []diagnose.Rung{}}
		err := a.Tester.Test(ctx, m.Address, o, func(r diagnose.Rung) {
			result.Rungs = append(result.Rungs, r)
			if stream {
				b, _ := json.Marshal(r)
				_, _ = fmt.Fprintf(w, "event: rung\ndata: %s\n\n", b)
				flush()
			}
		})
		result.OK = err == nil
		b, _ := json.Marshal(result)
		if stream {
			_, _ = fmt.Fprintf(w, "event: result\ndata: %s\n\n", b)
			return
		}
		c.SetHeader("Content-Type", "application/json")
		_, _ = w.Write(b)
	}}, nil
}

// InspectRequest is a token to look at. It is not stored and not logged.
type InspectRequest struct {
	Token   string `json:"token" writeOnly:"true" maxLength:"65536"`
	Mailbox string `json:"mailbox,omitempty" doc:"Compare with what this mailbox needs."`
}

func (a *API) inspect(ctx context.Context, in *struct{ Body InspectRequest }) (*Out[diagnose.Report], error) {
	want := diagnose.Expectation{}
	if in.Body.Mailbox == "" {
		if err := caller(ctx).Allows(access.Read, ""); err != nil {
			return nil, err
		}
	} else {
		m, err := a.find(ctx, in.Body.Mailbox, access.Read)
		if err != nil {
			return nil, err
		}
		if want, err = a.Tester.Expect(ctx, m); err != nil {
			return nil, err
		}
	}
	r, err := a.Inspector.Inspect(seal.NewSecret(in.Body.Token), want)
	return &Out[diagnose.Report]{r}, err
}
