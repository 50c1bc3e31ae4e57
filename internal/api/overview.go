package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
)

// Overview is how everything stands that the caller may read.
type Overview struct {
	Mailboxes     int               `json:"mailboxes"`
	States        map[string]int    `json:"states" doc:"How many mailboxes are in which state; those without any are left out."`
	Attention     []diagnose.Matter `json:"attention" doc:"What needs attention, the most urgent first."`
	AttentionMore int               `json:"attention_more,omitempty" doc:"Mailboxes that need attention beyond those that are listed; the list of mailboxes finds them by state."`
	Hours         []diagnose.Hour   `json:"hours" doc:"The last day by the hour, oldest first; the last one is not over."`
	LastRunAt     time.Time         `json:"refresh_loop_last_run_at,omitzero"`
}

func (a *API) overview() {
	register(a, "get-overview", http.MethodGet, "/v1/overview", "How everything stands, what needs attention, and the last day by the hour", "Diagnosis", func(ctx context.Context, _ *struct{}) (*Out[Overview], error) {
		if err := caller(ctx).Allows(access.Read, ""); err != nil {
			return nil, err
		}
		var scope diagnose.Scope
		if bound := boundTo(caller(ctx)); len(bound) > 0 {
			listed, err := a.Connect.Mailboxes.List(ctx, mailbox.Filter{Addresses: bound})
			if err != nil {
				return nil, err
			}
			scope.Bound = true
			for _, l := range listed {
				scope.Mailboxes = append(scope.Mailboxes, l.Mailbox)
			}
		}
		s, err := a.Overview.Look(ctx, scope)
		if err != nil {
			return nil, err
		}
		out := Overview{Mailboxes: s.Mailboxes, States: map[string]int{}, Attention: s.Attention, AttentionMore: s.More, Hours: s.Hours}
		if !scope.Bound {
			out.LastRunAt = s.LastRun
		}
		for standing, n := range s.Standings {
			out.States[string(standing)] = n
		}
		return &Out[Overview]{out}, nil
	})
}

// boundTo lists the mailboxes that a caller is bound to, as they are stored;
// empty: all.
func boundTo(c access.Caller) []string {
	if c.All {
		return nil
	}
	var out []string
	for _, m := range c.Mailboxes {
		if normal, err := message.Address(m); err == nil {
			m = normal
		}
		out = append(out, m)
	}
	return out
}
