package connect

import (
	"testing"
	"time"
)

func TestIDs_AreRememberedForASecondAndNotOverAChange(t *testing.T) {
	t.Parallel()
	var i ids
	now := time.Now()
	_, changes := i.find("a@example.org", now)
	i.keep("a@example.org", remembered{"one", now}, changes)
	for _, c := range []struct {
		outcome string
		at      time.Duration
		want    string
	}{
		{"at once", 0, "one"}, {"just before a second is over", idLife - 1, "one"}, {"after a second", idLife, ""}, {"when the clock was set back", -1, ""},
	} {
		if id, _ := i.find("a@example.org", now.Add(c.at)); id != c.want {
			t.Errorf("%s it is %q, want %q", c.outcome, id, c.want)
		}
	}
	// A change comes between reading and remembering.
	_, changes = i.find("b@example.org", now)
	i.forget()
	i.keep("b@example.org", remembered{"two", now}, changes)
	for _, address := range []string{"a@example.org", "b@example.org"} {
		if id, _ := i.find(address, now); id != "" {
			t.Errorf("%s is still %q after a change", address, id)
		}
	}
	// Many addresses take no more than their room.
	for n := range 2*mostIDs + 1 {
		_, changes = i.find("", now)
		i.keep(string(rune(n)), remembered{"x", now}, changes)
	}
	if len(i.byName) > mostIDs {
		t.Errorf("%d addresses are remembered", len(i.byName))
	}
}
