package event

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Filter selects events of the timeline. With After it lists those that came
// later than this ID, oldest first (following); else newest first, older than Before.
type Filter struct {
	MailboxIDs []string // empty: all
	Patterns   []Pattern
	Attention  bool    // only those for which a person has to act
	Actors     []Actor // of any of these; one without a name: of anybody of its kind
	Text       string  // in the sentence, the cause or the details, in capitals or not
	Since      time.Time
	Until      time.Time // before this
	Before     string
	After      string
	Limit      int
}

// Page is one page of the timeline. Next is the Before of the next page; empty:
// nothing is left. When following it is the After to go on with, which moves
// although nothing was found. A page that had to look at very many events ends
// early, even without any.
type Page struct {
	Events []Event
	Next   string
}

// Wants reports whether the kind of an event is among those selected.
func (f Filter) Wants(k Described) bool {
	if f.Attention && !k.Alert {
		return false
	}
	return len(f.Patterns) == 0 || slices.ContainsFunc(f.Patterns, func(p Pattern) bool { return p.Matches(k.Kind) })
}

// ActorKinds lists the sorts of actor in the order of the documents.
func ActorKinds() []ActorKind {
	return []ActorKind{ActorSystem, ActorOperator, ActorAPIKey, ActorLocal, ActorOwner}
}

// ParseActor reads an actor as it is selected by: a kind, or a kind and a name
// after a colon, such as "operator:anna".
func ParseActor(text string) (Actor, error) {
	kind, name, _ := strings.Cut(text, ":")
	a := Actor{Kind: ActorKind(strings.TrimSpace(kind)), Name: strings.TrimSpace(name)}
	if slices.Contains(ActorKinds(), a.Kind) {
		return a, nil
	}
	return Actor{}, &fault.Error{
		ID: "event.unknown_actor", Kind: fault.Invalid, Field: "actor", Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("“%s” names nobody who does things here.", fault.Shorten(text, 60)),
		Remedy: "Use system, operator, api_key, local or owner, with a name after a colon where one is meant: operator:anna.",
	}
}

// ParsePattern reads the name of an event, a family such as submission.*, or *.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern(strings.TrimSpace(text))
	if err := p.Check(); err != nil {
		bad := *fault.Of(err)
		bad.Field = "kind"
		return "", &bad
	}
	return p, nil
}
