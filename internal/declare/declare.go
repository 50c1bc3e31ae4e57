// Package declare carries out a document that says which resources are to be.
//
// Every resource is checked first, against those of the same document and those
// that are stored; one mistake refuses all of them, and every mistake is told.
// Then the changes are made in the order of the sections, so that what is named
// is there before what names it, and what is no longer wanted goes in reverse.
// Each is made over the version that the check saw: a change that somebody else
// makes meanwhile stops the rest, and what was done until then is said.
//
// The room knows no kind of resource. Those that keep them check and save; they
// meet it as sections of a document.
package declare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Action says what becomes of a resource.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
	Deleted   Action = "deleted"
)

// Change is what became of one resource, or would become.
type Change struct {
	Kind   string
	Name   string
	Action Action
	Fields []string    // of an update, as the document spells them; never a value
	Secret seal.Secret // what was made with it and is shown this once; zero: nothing
}

// Draft is a resource that was checked and waits to be saved.
type Draft struct {
	Name   string // as it is stored
	Action Action
	Fields []string
	// Save writes it, and gives a secret that was made with it.
	Save func(context.Context) (seal.Secret, error)
}

// Item is one resource of a document.
type Item struct {
	// Check finds every mistake of the resource; its faults name fields of it.
	Check func(context.Context) (Draft, error)
	// Fits is asked once every resource of the document was checked; nil: nothing
	// is to be asked.
	Fits func(context.Context) error
}

// Section is the resources of one kind.
type Section struct {
	Kind  string // of one, for people: "provider"
	Field string // of the list in the document: "providers"
	Name  string // the member that names a resource: "name"
	Items []Item
	// Given says that the document has the list, be it empty. Only what is missing
	// from a list that is there is deleted.
	Given bool
	// Stored names what is there.
	Stored func(context.Context) ([]string, error)
	// MayDelete is asked once every resource of the document was checked; nil: it
	// always may.
	MayDelete func(ctx context.Context, name string) error
	Delete    func(ctx context.Context, name string) error
}

// Options shape one application of a document.
type Options struct {
	DryRun bool // only check, and say what would be done
	Prune  bool // delete what is stored and not in the document
}

// Stopped says that a document was carried out in part.
type Stopped struct {
	Done []Change
	At   Change // what could not be done
	Left int    // how many changes were not begun
	Err  error
}

// Error gives the sentence.
func (s *Stopped) Error() string { return s.Err.Error() }

// Unwrap gives a fault that says what was done.
func (s *Stopped) Unwrap() error {
	f := *fault.Of(s.Err)
	done, left := "nothing was changed before", ""
	if n := len(s.Done); n > 0 {
		done = fmt.Sprintf("changes made before: %d", n)
	}
	if s.Left > 0 {
		left = fmt.Sprintf(", not begun: %d", s.Left)
	}
	f.Text = fmt.Sprintf("The %s %s could not be %s (%s%s). %s", s.At.Kind, s.At.Name, s.At.Action, done, left, f.Text)
	f.Remedy = strings.TrimSpace(f.Remedy + " Then apply the document again: what is done already stays as it is.")
	f.Field, f.Err = "", s.Err
	return &f
}

// step is one change that waits to be made.
type step struct {
	change Change
	carry  func(context.Context) (seal.Secret, error)
}

// Plan is a document that was checked.
type Plan struct {
	steps  []step
	dryRun bool
}

// Check checks a document. An error is every mistake found.
func Check(ctx context.Context, sections []Section, o Options) (*Plan, error) {
	steps, err := plan(ctx, sections, o)
	return &Plan{steps: steps, dryRun: o.DryRun}, err
}

// Steps is how many resources there are to look after.
func (p *Plan) Steps() int { return len(p.steps) }

// Carry carries the document out, unless it is a dry run, and tells of each
// change as it was made. The changes it gives are in the order of the document,
// deletions last; an error is *Stopped.
func (p *Plan) Carry(ctx context.Context, tell func(Change)) ([]Change, error) {
	var all, made []Change
	for i, s := range p.steps {
		if !p.dryRun && s.carry != nil {
			secret, err := s.carry(ctx)
			if err != nil {
				return nil, &Stopped{Done: made, At: s.change, Left: left(p.steps[i+1:]), Err: err}
			}
			s.change.Secret = secret
			made = append(made, s.change)
		}
		all = append(all, s.change)
		if tell != nil {
			tell(s.change)
		}
	}
	return all, nil
}

func left(steps []step) (n int) {
	for _, s := range steps {
		if s.carry != nil {
			n++
		}
	}
	return n
}

// mostMistakes bounds what is told at once.
const mostMistakes = 100

// plan checks everything. Faults name the fields of the document.
func plan(ctx context.Context, sections []Section, o Options) ([]step, error) {
	var mistakes []error
	var steps, gone []step
	names := make([][]string, len(sections)) // as stored, by section
	for i, s := range sections {
		drafted, named, err := s.check(ctx)
		if down := broken(err); down != nil {
			return nil, down
		}
		steps, names[i], mistakes = append(steps, drafted...), named, append(mistakes, err)
	}
	for _, s := range sections {
		err := s.fit(ctx)
		if down := broken(err); down != nil {
			return nil, down
		}
		mistakes = append(mistakes, err)
	}
	for i, s := range slices.Backward(sections) {
		if !o.Prune || !s.Given {
			continue
		}
		deletions, err := s.deletions(ctx, names[i])
		if down := broken(err); down != nil {
			return nil, down
		}
		gone, mistakes = append(gone, deletions...), append(mistakes, err)
	}
	err := fault.Join(mistakes...)
	if all := fault.All(err); len(all) > mostMistakes {
		var first []error
		for _, f := range all[:mostMistakes] {
			first = append(first, f)
		}
		err = fault.Join(append(first, &fault.Error{
			ID: "declare.more_mistakes", Kind: fault.Invalid, Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("There are %d more mistakes.", len(all)-mostMistakes), Remedy: "Correct these first.",
		})...)
	}
	return append(steps, gone...), err
}

// broken gives what kept checking itself from being done: no mistake of the
// document. It is nil where everything could be checked.
func broken(err error) error {
	for _, f := range fault.All(err) {
		if f.Kind == fault.Internal || f.Kind == fault.Temporary {
			return f
		}
	}
	return nil
}

// check checks a section's resources and gives what is to be done with them, and
// their names as stored.
func (s Section) check(ctx context.Context) (steps []step, names []string, err error) {
	var mistakes []error
	first := map[string]int{}
	for i, item := range s.Items {
		at := fmt.Sprintf("%s[%d]", s.Field, i)
		d, err := item.Check(ctx)
		if err != nil {
			mistakes = append(mistakes, fault.Within(at, err))
		}
		if d.Name == "" {
			continue
		}
		if before, twice := first[strings.ToLower(d.Name)]; twice {
			mistakes = append(mistakes, &fault.Error{
				ID: "declare.repeated", Kind: fault.Invalid, Field: at + "." + s.Name, Who: []fault.Who{fault.Operator},
				Text: fmt.Sprintf("The %s %s stands here twice; first as %s[%d].", s.Kind, d.Name, s.Field, before), Remedy: "Keep one.",
			})
			continue
		}
		first[strings.ToLower(d.Name)] = i
		names = append(names, d.Name)
		if err == nil {
			one := step{change: Change{Kind: s.Kind, Name: d.Name, Action: d.Action, Fields: d.Fields}}
			if d.Action != Unchanged {
				one.carry = d.Save
			}
			steps = append(steps, one)
		}
	}
	return steps, names, fault.Join(mistakes...)
}

// fit asks what can only be known once everything was checked.
func (s Section) fit(ctx context.Context) error {
	var mistakes []error
	for i, item := range s.Items {
		if item.Fits != nil {
			mistakes = append(mistakes, fault.Within(fmt.Sprintf("%s[%d]", s.Field, i), item.Fits(ctx)))
		}
	}
	return fault.Join(mistakes...)
}

// deletions are what is stored and not named.
func (s Section) deletions(ctx context.Context, named []string) (steps []step, err error) {
	stored, err := s.Stored(ctx)
	if err != nil {
		return nil, err
	}
	var mistakes []error
	for _, name := range stored {
		if slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, name) }) {
			continue
		}
		if s.MayDelete != nil {
			if err := s.MayDelete(ctx, name); err != nil {
				mistakes = append(mistakes, fault.Within(s.Field, err))
			}
		}
		steps = append(steps, step{change: Change{Kind: s.Kind, Name: name, Action: Deleted}, carry: func(ctx context.Context) (seal.Secret, error) {
			err := s.Delete(ctx, name)
			if err != nil && fault.KindOf(err) == fault.NotFound { // somebody else was faster
				err = nil
			}
			return seal.Secret{}, err
		}})
	}
	return steps, fault.Join(mistakes...)
}
