package arch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// floors lists the rooms of internal/, from the ground up. A room's own folders belong to it, except under provider, protocol
// and store, whose folders are the members on floor 3.
var floors = [][]string{
	0: {"message", "oauth", "sasl", "seal", "event", "fault", "egress", "work"},
	1: {"mailbox", "provider", "protocol", "config"},
	2: {"access", "connect", "broker", "declare", "diagnose", "fetch", "idempotency", "outbox", "relay", "webhook"},
	3: {"store", "provider/*", "protocol/*"},
	4: {"api", "web"},
	5: {"app"},
	6: {"cli"},
}

// neighbours are the arrows between rooms of one floor that are allowed: importer, imported, why.
var neighbours = []struct{ from, to, reason string }{
	{"*", "fault", "everybody needs to say what went wrong"},
	{"oauth", "seal", "tokens are secrets from the wire on"},
	{"sasl", "seal", "so are what one signs in with"},
	{"provider", "protocol", "a provider's endpoints speak protocols"},
	{"mailbox", "provider", "a mailbox says whose consent it needs, and a grant whose it is"},
	{"mailbox", "protocol", "a mailbox says how its mail is read and sent"},
	{"cmd/mailgrant", "cli", "main is one line"},
}

// place is where a folder stands in the house.
type place struct {
	room  string // as in floors; "cmd/mailgrant", "client", "sandbox" outside internal
	floor int
	apart bool // stands beside the floors: sandbox, client
	tests bool // for tests only
	known bool
}

// locate finds a folder's place.
func locate(folder string) place {
	switch parts := strings.Split(folder, "/"); {
	case parts[0] == "sandbox" || parts[0] == "client":
		return place{room: parts[0], apart: true, known: true}
	case parts[0] == "bench":
		return place{room: "bench", tests: true, known: true}
	case folder == "cmd/mailgrant":
		return place{room: folder, floor: 6, known: true}
	case parts[0] != "internal" || len(parts) < 2:
		return place{}
	case slices.Contains([]string{"arch", "testbed", "crash", "acceptance"}, parts[1]) || slices.ContainsFunc(parts, suite):
		return place{room: strings.Join(parts[1:], "/"), tests: true, known: true}
	default:
		room, member := parts[1], false
		if (room == "provider" || room == "protocol") && len(parts) > 2 {
			room, member = room+"/"+parts[2], true
		}
		for floor, rooms := range floors {
			if slices.Contains(rooms, room) || member && slices.Contains(rooms, parts[1]+"/*") {
				return place{room: room, floor: floor, known: true}
			}
		}
		return place{}
	}
}

// suite reports whether a folder's name is that of a conformance suite or of a test double's package.
func suite(name string) bool { return strings.HasSuffix(name, "test") && name != "test" }

// wrongArrows finds the imports that the house forbids.
func wrongArrows(t tree) []string {
	var findings []string
	for _, s := range t.sources {
		from := locate(s.folder)
		if !from.known {
			findings = append(findings, fmt.Sprintf("%s: %s is no room of the house; ARCHITECTURE.md and internal/arch list them all", s.path, s.folder))
			continue
		}
		if s.test || from.tests {
			continue
		}
		for _, folder := range s.imported() {
			if reason := forbidden(from, locate(folder), folder); reason != "" {
				findings = append(findings, fmt.Sprintf("%s imports %s: %s", s.path, folder, reason))
			}
		}
	}
	return findings
}

// forbidden says why one room may not import another; empty when it may.
func forbidden(from, to place, folder string) string {
	switch {
	case !to.known:
		return folder + " is no room of the house"
	case to.tests:
		return "it is for tests only, and this is the product"
	case from.room == to.room:
		return ""
	case from.apart:
		return from.room + " shares no code with the product, so that a misunderstanding in one cannot hide in the other"
	case to.room == "sandbox":
		if from.room == "cli" {
			return ""
		}
		return "the imitation tenant is for the command line and for tests; the product must not know that it is being tested"
	case to.room == "client":
		if from.room == "cli" {
			return ""
		}
		return "the client is for programs outside; within the process rooms call each other"
	case to.room == "config" && from.room != "app" && from.room != "cli":
		return "only app and cli read the configuration; everybody else is handed what they need"
	case to.floor > from.floor:
		return fmt.Sprintf("%s is on floor %d, above %s on floor %d; arrows only go down: declare what you need as a small interface and let app join it",
			to.room, to.floor, from.room, from.floor)
	case to.floor < from.floor:
		return ""
	}
	for _, n := range neighbours {
		if n.to == to.room && (n.from == from.room || n.from == "*") {
			return ""
		}
	}
	return fmt.Sprintf("%s and %s are neighbours on floor %d, which do not import one another: what both need belongs a floor lower, and app joins the rest",
		from.room, to.room, from.floor)
}

func TestHouse_ArrowsGoDown(t *testing.T) {
	report(t, wrongArrows(house(t)))
}

func TestArrows_AreJudged(t *testing.T) {
	for _, c := range []struct {
		outcome string
		from    string
		to      string
		reason  string // a part of it; empty when allowed
	}{
		{"a face may use a capability", "internal/api", "internal/broker", ""},
		{"anybody may use fault", "internal/message", "internal/fault", ""},
		{"oauth may use seal", "internal/oauth", "internal/seal", ""},
		{"provider may use protocol", "internal/provider", "internal/protocol", ""},
		{"the store's folders are one room", "internal/store", "internal/store/jobs", ""},
		{"a member may use its contract", "internal/provider/generic", "internal/provider", ""},
		{"the command line may start the sandbox", "internal/cli", "sandbox", ""},
		{"main may use the command line", "cmd/mailgrant", "internal/cli", ""},
		{"up is refused", "internal/broker", "internal/store", "arrows only go down"},
		{"a contract does not know its members", "internal/protocol", "internal/protocol/imap", "arrows only go down"},
		{"capabilities do not import one another", "internal/connect", "internal/broker", "neighbours"},
		{"members do not import one another", "internal/provider/generic", "internal/provider/other", "neighbours"},
		{"a mailbox may name its protocol", "internal/mailbox", "internal/protocol", ""},
		{"protocol does not know provider", "internal/protocol", "internal/provider", "neighbours"},
		{"seal does not know oauth", "internal/seal", "internal/oauth", "neighbours"},
		{"a capability does not read the configuration", "internal/fetch", "internal/config", "only app and cli"},
		{"the product does not know the sandbox", "internal/app", "sandbox", "imitation tenant"},
		{"the sandbox shares no code", "sandbox", "internal/sasl", "shares no code"},
		{"the client shares no code", "client", "internal/fault", "shares no code"},
		{"the product does not use the test bed", "internal/app", "internal/testbed", "for tests only"},
		{"the product does not use the measurements", "internal/app", "bench", "for tests only"},
		{"the product does not use a suite", "internal/store", "internal/store/storetest", "for tests only"},
		{"an unknown room is asked for its place", "internal/app", "internal/misc", "no room"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			found := wrongArrows(model(t, map[string]string{c.from + "/file.go": importing("p", c.to)}))
			if c.reason == "" {
				expect(t, found)
			} else {
				expect(t, found, c.reason)
			}
		})
	}
	t.Run("a test may import what the product may not", func(t *testing.T) {
		expect(t, wrongArrows(model(t, map[string]string{"internal/broker/x_test.go": importing("broker_test", "internal/testbed", "internal/store")})))
	})
	t.Run("a folder outside the house is found", func(t *testing.T) {
		expect(t, wrongArrows(model(t, map[string]string{"pkg/thing/x.go": importing("thing")})), "no room")
	})
}
