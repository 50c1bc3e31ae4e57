package declare_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/declare"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// ledger is a house of two kinds of resource that writes down what is done.
type ledger struct {
	stored map[string][]string // by kind
	broken string              // the name at which saving fails
	done   []string
}

func bad(field, text string) *fault.Error {
	return &fault.Error{ID: "test.bad", Kind: fault.Invalid, Field: field, Text: text, Remedy: "Correct it."}
}

// section makes one of names; one that begins with "bad" is refused, one that
// begins with "same" is unchanged.
func (l *ledger) section(kind string, names ...string) declare.Section {
	s := declare.Section{
		Kind: kind, Field: kind + "s", Name: "name", Given: true,
		Stored: func(context.Context) ([]string, error) { return l.stored[kind], nil },
		Delete: func(_ context.Context, name string) error {
			if name == "gone" {
				return &fault.Error{ID: "test.unknown", Kind: fault.NotFound, Text: "There is none."}
			}
			l.done = append(l.done, "delete "+name)
			return l.fail(name)
		},
	}
	for _, name := range names {
		s.Items = append(s.Items, declare.Item{Check: func(context.Context) (declare.Draft, error) {
			d := declare.Draft{Name: name, Action: declare.Created, Save: func(context.Context) (seal.Secret, error) {
				l.done = append(l.done, "save "+name)
				return seal.NewSecret("once-" + name), l.fail(name)
			}}
			switch {
			case strings.HasPrefix(name, "bad"):
				return d, fault.Join(bad("name", "The name is bad."), bad("kind", "The kind is bad."))
			case strings.HasPrefix(name, "same"):
				d.Action = declare.Unchanged
			case slices.Contains(l.stored[kind], name):
				d.Action, d.Fields = declare.Updated, []string{"color"}
			}
			return d, nil
		}})
	}
	return s
}

func (l *ledger) fail(name string) error {
	if name == l.broken {
		return &fault.Error{ID: "test.changed", Kind: fault.Conflict, Field: "name", Text: "Somebody else changed it.", Remedy: "Read it again."}
	}
	return nil
}

// apply checks a document and carries it out.
func apply(ctx context.Context, sections []declare.Section, o declare.Options) ([]declare.Change, error) {
	p, err := declare.Check(ctx, sections, o)
	if err != nil {
		return nil, err
	}
	told := 0
	changes, err := p.Carry(ctx, func(declare.Change) { told++ })
	if err == nil && (told != len(changes) || told != p.Steps()) {
		return nil, fmt.Errorf("%d changes of %d were told", told, p.Steps())
	}
	return changes, err
}

func words(changes []declare.Change) (all []string) {
	for _, c := range changes {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Action, c.Kind, c.Name, strings.Join(c.Fields, ","))))
	}
	return all
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestApply_SavesInOrderAndDeletesInReverse(t *testing.T) {
	t.Parallel()
	l := &ledger{stored: map[string][]string{"host": {"h1", "old-host"}, "guest": {"old-guest", "gone"}}}
	sections := []declare.Section{l.section("host", "h1", "h2"), l.section("guest", "g1", "same-g")}
	changes, err := apply(t.Context(), sections, declare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "told", words(changes), "updated host h1 color", "created host h2", "created guest g1", "unchanged guest same-g")
	equal(t, "done", l.done, "save h1", "save h2", "save g1")
	if changes[1].Secret.Reveal() != "once-h2" {
		t.Error("what was made once is not given")
	}

	l.done = nil
	changes, err = apply(t.Context(), sections, declare.Options{Prune: true, DryRun: true})
	if err != nil || len(l.done) > 0 || !changes[0].Secret.IsZero() {
		t.Errorf("a dry run did %v, %v", l.done, err)
	}
	equal(t, "a dry run tells", words(changes)[4:], "deleted guest old-guest", "deleted guest gone", "deleted host old-host")
	if _, err := apply(t.Context(), sections, declare.Options{Prune: true}); err != nil {
		t.Fatal(err)
	}
	equal(t, "done", l.done, "save h1", "save h2", "save g1", "delete old-guest", "delete old-host")

	l.done = nil
	sections[1].Given = false
	if _, err := apply(t.Context(), sections, declare.Options{Prune: true}); err != nil {
		t.Fatal(err)
	}
	equal(t, "without the list of guests", l.done, "save h1", "save h2", "save g1", "delete old-host")
}

func TestApply_OneMistakeChangesNothingAndAllAreTold(t *testing.T) {
	t.Parallel()
	l := &ledger{stored: map[string][]string{"host": {"old-host"}}}
	hosts := l.section("host", "h1", "bad-h", "H1", "h3")
	hosts.Items[3].Fits = func(context.Context) error { return bad("size", "Guests outside the document do not fit.") }
	hosts.MayDelete = func(_ context.Context, name string) error {
		return &fault.Error{ID: "test.in_use", Kind: fault.Conflict, Text: name + " is in use.", Remedy: "Keep it."}
	}
	changes, err := apply(t.Context(), []declare.Section{hosts, l.section("guest", "bad-g")}, declare.Options{Prune: true})
	if len(changes) > 0 || len(l.done) > 0 {
		t.Errorf("something was done: %v, %v", changes, l.done)
	}
	var told []string
	for _, f := range fault.All(err) {
		told = append(told, f.Field+": "+f.Text)
		if f.Remedy == "" {
			t.Errorf("%s has no remedy", f.Field)
		}
	}
	equal(t, "told", told, "hosts[1].name: The name is bad.", "hosts[1].kind: The kind is bad.", "hosts[2].name: The host H1 stands here twice; first as hosts[0].",
		"guests[0].name: The name is bad.", "guests[0].kind: The kind is bad.", "hosts[3].size: Guests outside the document do not fit.", "hosts: old-host is in use.")
}

func TestApply_TellsAHundredMistakes(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	var names []string
	for i := range 70 {
		names = append(names, fmt.Sprintf("bad-%d", i))
	}
	_, err := apply(t.Context(), []declare.Section{l.section("host", names...)}, declare.Options{})
	all := fault.All(err)
	if len(all) != 101 || all[100].Text != "There are 40 more mistakes." {
		t.Errorf("%d mistakes are told; the last: %v", len(all), all[len(all)-1])
	}
}

func TestApply_SaysWhatWasDoneWhenItStopsMidway(t *testing.T) {
	t.Parallel()
	l := &ledger{stored: map[string][]string{"host": {"old-host"}}, broken: "h2"}
	_, err := apply(t.Context(), []declare.Section{l.section("host", "same-h", "h1", "h2"), l.section("guest", "g1", "same-g")}, declare.Options{Prune: true})
	var stopped *declare.Stopped
	if !errors.As(err, &stopped) {
		t.Fatalf("got %v", err)
	}
	equal(t, "done", l.done, "save h1", "save h2")
	equal(t, "told as done", words(stopped.Done), "created host h1")
	if stopped.Done[0].Secret.Reveal() != "once-h1" {
		t.Error("the secret that was made is lost")
	}
	f := fault.Of(err)
	if f.ID != "test.changed" || f.Kind != fault.Conflict || f.Field != "" ||
		f.Text != "The host h2 could not be created (changes made before: 1, not begun: 2). Somebody else changed it." ||
		f.Remedy != "Read it again. Then apply the document again: what is done already stays as it is." {
		t.Errorf("%+v", f)
	}
}

func TestApply_ACheckThatCannotBeMadeIsNoMistake(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	s := l.section("host", "bad-h", "h1")
	s.Items[1].Check = func(context.Context) (declare.Draft, error) {
		return declare.Draft{}, errors.New("the database is gone")
	}
	if _, err := apply(t.Context(), []declare.Section{s}, declare.Options{}); fault.KindOf(err) != fault.Internal || len(fault.All(err)) != 1 {
		t.Errorf("got %v", err)
	}
}
