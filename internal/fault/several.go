package fault

import (
	"errors"
	"slices"
)

// Join puts several refusals together, so that a document's mistakes can be told
// at once. Of the faults about one field only the first is kept: the others
// follow from it. Join of nothing is nil.
func Join(errs ...error) error {
	var kept []error
	var fields []string
	for _, err := range errs {
		for _, one := range each(err) {
			if f := Of(one); f.Field != "" {
				if slices.Contains(fields, f.Field) {
					continue
				}
				fields = append(fields, f.Field)
			}
			kept = append(kept, one)
		}
	}
	return errors.Join(kept...)
}

// All gives every fault that err holds, in order; what carries none counts as Of
// takes it. All(nil) is empty.
func All(err error) []*Error {
	var out []*Error
	for _, one := range each(err) {
		out = append(out, Of(one))
	}
	return out
}

// each takes joined errors apart.
func each(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the errors joined are wanted, not one of them
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var out []error
		for _, one := range e.Unwrap() {
			out = append(out, each(one)...)
		}
		return out
	}
	return []error{err}
}

// Within gives the same faults with a prefix before their fields: those of a
// resource become those of the document that holds it. An Internal fault stays
// as it is.
func Within(prefix string, err error) error {
	var out []error
	for _, one := range each(err) {
		f := Of(one)
		if f.Kind != Internal {
			moved := *f
			moved.Field = prefix
			if f.Field != "" {
				moved.Field += "." + f.Field
			}
			one = &moved
		}
		out = append(out, one)
	}
	return errors.Join(out...)
}
