package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Document is every resource together, as files for “mailgrant apply” have them.
// A nil list is left alone; an empty one says that there are to be none, which
// counts with Prune.
type Document struct {
	Providers []Provider `json:"providers,omitzero"`
	Mailboxes []Mailbox  `json:"mailboxes,omitzero"`
	Webhooks  []Webhook  `json:"webhooks,omitzero"`
	Apps      []App      `json:"apps,omitzero"`
}

// ApplyOptions shape one application of a document.
type ApplyOptions struct {
	DryRun bool // check everything and say what would be done; change nothing
	Prune  bool // delete what is stored and missing from a list that the document has
	// Tell is called after each resource that was looked after; nil: nobody is told.
	Tell func(done, of int, c Change)
}

// Applied is what a document changed, or with DryRun what it would.
type Applied struct {
	DryRun  bool     `json:"dry_run,omitempty"`
	Changes []Change `json:"changes"`
}

// Change is what became of one resource. Kind is provider, mailbox, webhook or
// app; Action is created, updated, unchanged or deleted.
type Change struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Action string   `json:"action"`
	Fields []string `json:"fields,omitempty"` // of an update: what changed, never a value
	// APIKey of an app, and Secret of a webhook that was given none: made with it,
	// and shown this once.
	APIKey string `json:"api_key,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// Apply makes the resources what a document says. It is refused whole where it
// has a mistake: the *Problem lists every one found in Errors. Where carrying it
// out stopped midway, the *Problem says in Changes what was done; where the
// connection broke, Applied holds what was heard of until then.
func (c *Client) Apply(ctx context.Context, d Document, o ApplyOptions) (Applied, error) {
	q := url.Values{}
	for name, set := range map[string]bool{"dry_run": o.DryRun, "prune": o.Prune} {
		if set {
			q.Set(name, "true")
		}
	}
	var out Applied
	var refused *Problem
	var bad error
	done := false
	err := c.stream(ctx, call{method: http.MethodPost, path: "/v1/apply", query: q, body: d.written()}, func(s sent) bool {
		switch s.kind {
		case "change":
			var step struct {
				Done, Of int
				Change   Change
			}
			if bad = json.Unmarshal([]byte(s.data), &step); bad == nil {
				out.Changes = append(out.Changes, step.Change)
				if o.Tell != nil {
					o.Tell(step.Done, step.Of, step.Change)
				}
			}
		case "result":
			out = Applied{}
			bad = json.Unmarshal([]byte(s.data), &out)
			done = bad == nil
		case "problem":
			refused = &Problem{}
			bad = json.Unmarshal([]byte(s.data), refused)
		}
		return bad == nil && !done && refused == nil
	})
	switch {
	case bad != nil:
		return out, fmt.Errorf("what was changed cannot be read: %w", bad)
	case done:
		return out, nil
	case refused != nil:
		return out, refused
	case err != nil:
		return out, err
	}
	return out, errors.New("the server broke off before the document was carried out")
}

// Export gives every resource as a document that Apply takes. Secrets stay where
// they are: client secrets are named by their ids.
func (c *Client) Export(ctx context.Context) (Document, error) {
	return get[Document](ctx, c, "/v1/export")
}

// written leaves out what is the server's.
func (d Document) written() Document {
	d.Providers, d.Mailboxes, d.Webhooks = each(d.Providers, Provider.written), each(d.Mailboxes, Mailbox.written), each(d.Webhooks, Webhook.written)
	d.Apps = each(d.Apps, App.written)
	return d
}

func each[T any](items []T, f func(T) T) []T {
	if items == nil {
		return nil
	}
	out := make([]T, len(items))
	for i, item := range items {
		out[i] = f(item)
	}
	return out
}
