package app

import (
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/graph"
	"github.com/mailgrant/mailgrant/internal/protocol/imap"
	"github.com/mailgrant/mailgrant/internal/protocol/pop3"
	"github.com/mailgrant/mailgrant/internal/protocol/smtp"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/generic"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
)

// kinds is the list of providers: a folder and a line here.
func kinds(now func() time.Time) map[string]provider.Kind {
	return map[string]provider.Kind{
		"microsoft": microsoft.New(microsoft.Options{Now: now}),
		"generic":   generic.New(generic.Options{Now: now}),
	}
}

// registry answers which members there are. A member serves as prober, reader,
// sender or finder by the interfaces it implements.
type registry struct {
	kinds     map[string]provider.Kind
	protocols map[protocol.Name]any
}

func newRegistry(now func() time.Time) registry {
	return registry{
		kinds: kinds(now),
		protocols: map[protocol.Name]any{
			protocol.IMAP:  imap.New(),
			protocol.POP3:  pop3.New(),
			protocol.SMTP:  smtp.New(),
			protocol.Graph: graph.New(),
		},
	}
}

func (r registry) kind(name string) (provider.Kind, bool) {
	k, ok := r.kinds[name]
	return k, ok
}

func (r registry) kindNames() []string {
	var names []string
	for n := range r.kinds {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// member gives a protocol's member as T; the zero T (nil) when it lacks that power.
func member[T any](r registry, n protocol.Name) T {
	m, _ := r.protocols[n].(T)
	return m
}

// audiences are the names under which access tokens go out, of every kind.
func (r registry) audiences() []provider.Audience {
	var all []provider.Audience
	for _, name := range r.kindNames() {
		if k, ok := r.kinds[name].(provider.Audiences); ok {
			all = append(all, k.Audiences()...)
		}
	}
	return all
}
