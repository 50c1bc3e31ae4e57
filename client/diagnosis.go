package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Rung is one step of a test.
type Rung struct {
	Name     string          `json:"name"`
	Title    string          `json:"title"`
	OK       bool            `json:"ok"`
	Skipped  bool            `json:"skipped,omitempty"`
	Observed string          `json:"observed"`
	ID       string          `json:"id,omitempty"`
	Cause    string          `json:"cause,omitempty"`
	Who      []string        `json:"who,omitempty"`
	Remedy   string          `json:"remedy,omitempty"`
	Retry    bool            `json:"retry,omitempty"`
	Detail   *ProviderDetail `json:"detail,omitempty"`
	Took     time.Duration   `json:"took_ns"`
}

// TestResult is a ladder, climbed.
type TestResult struct {
	OK    bool   `json:"ok"`
	Rungs []Rung `json:"rungs"`
}

// TestRequest shapes a test. With SendTo one real message is sent there.
type TestRequest struct {
	SendTo string `json:"send_to,omitempty"`
}

// testTime bounds one test; the server ends it earlier.
const testTime = 4 * time.Minute

// Test climbs a mailbox's ladder. Each rung is given to climbed, unless that is
// nil, as soon as it is known.
func (c *Client) Test(ctx context.Context, address string, r TestRequest, climbed func(Rung)) (TestResult, error) {
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	quiet := *c // a rung may take longer than a stream's heartbeat
	quiet.options.Silence = testTime
	var result TestResult
	done := false
	var bad error
	err := quiet.stream(ctx, call{method: http.MethodPost, path: mailboxPath(address, "/test"), body: r}, func(s sent) bool {
		switch s.kind {
		case "rung":
			var rung Rung
			if bad = json.Unmarshal([]byte(s.data), &rung); bad == nil && climbed != nil {
				climbed(rung)
			}
		case "result":
			bad = json.Unmarshal([]byte(s.data), &result)
			done = bad == nil
		}
		return bad == nil && !done
	})
	switch {
	case bad != nil:
		return result, fmt.Errorf("a step of the test cannot be read: %w", bad)
	case done:
		return result, nil
	case err != nil:
		return result, err
	}
	return result, errors.New("the server broke off the test before its end")
}

// InspectRequest is a token to look at. Mailbox, unless empty, is what it is
// compared with.
type InspectRequest struct {
	Token   string `json:"token"`
	Mailbox string `json:"mailbox,omitempty"`
}

// Inspection is what a token says. It never holds the token or a part of it.
type Inspection struct {
	Form          string    `json:"form"` // jwt, encrypted or opaque
	Kind          string    `json:"kind"`
	From          string    `json:"from,omitempty"`
	Beside        string    `json:"beside,omitempty"` // what else of worth was pasted, in a sentence
	SASLUser      string    `json:"sasl_user,omitempty"`
	Who           string    `json:"who,omitempty"`
	Addresses     []string  `json:"addresses,omitempty"`
	Name          string    `json:"name,omitempty"`
	ObjectID      string    `json:"object_id,omitempty"`
	TenantID      string    `json:"tenant_id,omitempty"`
	Subject       string    `json:"subject,omitempty"`
	Issuer        string    `json:"issuer,omitempty"`
	Audience      []string  `json:"audience,omitempty"`
	AudienceTitle string    `json:"audience_title,omitempty"`
	Resource      string    `json:"resource,omitempty"`
	Scopes        []string  `json:"scopes,omitempty"`
	Roles         []string  `json:"roles,omitempty"`
	ClientID      string    `json:"client_id,omitempty"`
	IssuedAt      time.Time `json:"issued_at,omitzero"`
	NotBefore     time.Time `json:"not_before,omitzero"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"`
	Expiry        string    `json:"expiry"`
	Notice        string    `json:"notice"`
	Findings      []Finding `json:"findings,omitempty"`
}

// Finding is one thing that is wrong with a token.
type Finding struct {
	ID     string   `json:"id"`
	Text   string   `json:"text"`
	Who    []string `json:"who"`
	Remedy string   `json:"remedy"`
}

// Inspect reads a token for people: whose it is, for what, until when, and what
// is wrong with it. The server neither stores nor logs it.
func (c *Client) Inspect(ctx context.Context, r InspectRequest) (Inspection, error) {
	return send[Inspection](ctx, c, http.MethodPost, "/v1/inspect", r)
}
