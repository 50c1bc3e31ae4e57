package connect

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// Change says what a Save did.
type Change string

// The changes.
const (
	Created   Change = "created"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

// Draft is a checked resource that waits to be saved. It is saved over the
// version that was looked at: where somebody else changed the resource since,
// that is refused as a conflict.
type Draft[T any] struct {
	Becomes T // as it will be stored
	Change  Change
	Fields  []string // what changes in one that exists, as documents spell it
	// Suspends says, as half a sentence, what of the change puts grants in question:
	// they are suspended until they are verified anew. Empty: none is touched.
	Suspends string
	// Consequence says, in whole sentences, what saving does to the authorisation
	// that the mailbox has now: it is suspended, or dropped where it waits in
	// quarantine. Empty: nothing.
	Consequence string
	// Loosens: an identity that nothing proves becomes good enough.
	Loosens bool
	save    func(context.Context) error
	// fits asks whether the mailboxes that stay as they are can still use it.
	fits func(ctx context.Context, changes func(address string) bool) error
}

// Save writes what was checked; nothing where nothing changes.
func (d Draft[T]) Save(ctx context.Context) (T, Change, error) {
	if d.save != nil {
		if err := d.save(ctx); err != nil {
			var none T
			return none, "", err
		}
	}
	return d.Becomes, d.Change, nil
}

// kept are the members of a record that no operator writes.
var kept = [...]string{"id", "version", "created_at", "updated_at", "paused", "client_secrets"}

// changedFields compares all that an operator writes, and names what differs as
// documents spell it: receive.protocol.
func changedFields(old, next any) []string {
	a, b := members(old), members(next)
	for _, name := range kept {
		delete(a, name)
		delete(b, name)
	}
	return differences("", a, b)
}

// spelling is a member's name in a document, where that is another one.
func spelling(name string) string {
	switch name {
	case "every_ns":
		return "every"
	case "prompt":
		return "authorize.prompt"
	}
	return name
}

func differences(prefix string, a, b map[string]any) []string {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []string
	for _, name := range names {
		x, one := a[name].(map[string]any)
		y, other := b[name].(map[string]any)
		switch {
		case one && other:
			out = append(out, differences(prefix+spelling(name)+".", x, y)...)
		case !reflect.DeepEqual(a[name], b[name]):
			out = append(out, prefix+spelling(name))
		}
	}
	return out
}

// members are a record's as it is stored.
func members(record any) map[string]any {
	out := map[string]any{}
	raw, err := json.Marshal(record)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		panic(err) // A record is written so into the store, and read back.
	}
	return out
}
