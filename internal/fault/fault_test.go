package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/mailgrant/mailgrant/internal/fault"
)

func TestOf_FindsTheFaultBehindWrapping(t *testing.T) {
	t.Parallel()
	f := &fault.Error{ID: "oauth.invalid_grant", Kind: fault.Dead, Text: "The grant has ended.", Err: io.ErrUnexpectedEOF}
	err := fmt.Errorf("refresh servicedesk: %w", f)
	if got := fault.Of(err); got != f {
		t.Fatalf("Of = %v, want the fault itself", got)
	}
	if !fault.Has(err, "oauth.invalid_grant") || fault.Has(err, "oauth.other") {
		t.Fatal("Has does not tell faults apart by ID")
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal("the cause is lost")
	}
}

func TestOf_UnknownErrorIsInternalAndHidesItsText(t *testing.T) {
	t.Parallel()
	got := fault.Of(errors.New("pq: password marker"))
	if got.Kind != fault.Internal || got.Text != "Something went wrong inside Mailgrant." {
		t.Fatalf("Of = %+v", got)
	}
	if fault.Of(nil) != nil {
		t.Fatal("Of(nil) must be nil")
	}
}

func FuzzShorten(f *testing.F) {
	f.Add("AADSTS50011: äöü\r\nTrace ID", 7)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		got := fault.Shorten(s, n)
		if !utf8.ValidString(got) || len(got) > n+len("…") {
			t.Fatalf("Shorten(%q, %d) = %q", s, n, got)
		}
	})
}
