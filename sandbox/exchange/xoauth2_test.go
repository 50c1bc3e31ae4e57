package exchange_test

import (
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

func TestParseXOAUTH2(t *testing.T) {
	t.Parallel()
	for response, want := range map[string][2]string{
		"user=a@b\x01auth=Bearer xyz\x01\x01": {"a@b", "xyz"},
		"user=a@b\x01auth=bearer xyz\x01\x01": {"a@b", "xyz"},
		"user=ü@b\x01auth=Bearer x=\x01\x01":  {"ü@b", "x="},
	} {
		mailbox, accessToken, err := exchange.ParseXOAUTH2([]byte(response))
		if err != nil || mailbox != want[0] || accessToken != want[1] {
			t.Errorf("%q: %q, %q, %v", response, mailbox, accessToken, err)
		}
	}
	for _, response := range []string{
		"", "\x01\x01", "user=a@b", "user=a@b\x01auth=Bearer xyz\x01", "user=\x01auth=Bearer xyz\x01\x01",
		"user=a@b\x01auth=Bearer \x01\x01", "user=a@b\x01auth=Basic xyz\x01\x01", "auth=Bearer xyz\x01user=a@b\x01\x01",
		"user=a@b\x01auth=Bearer xyz\x01more=1\x01\x01", "user=a@b\r\n\x01auth=Bearer xyz\x01\x01", "user=a@b\x01auth=Bearer x y\x01\x01",
		"user=a@b\x01auth=Bearer " + strings.Repeat("x", 33<<10) + "\x01\x01",
	} {
		if mailbox, _, err := exchange.ParseXOAUTH2([]byte(response)); err == nil {
			t.Errorf("%.80q was accepted, for %q", response, mailbox)
		}
	}
}

func FuzzParseXOAUTH2(f *testing.F) {
	f.Add([]byte("user=a@b\x01auth=Bearer xyz\x01\x01"))
	f.Add([]byte("user=\x01auth=Bearer \x01\x01"))
	f.Add([]byte("n,a=a@b,\x01host=h\x01port=993\x01auth=Bearer xyz\x01\x01"))
	f.Add([]byte("\x01"))
	f.Fuzz(func(t *testing.T, response []byte) {
		mailbox, accessToken, err := exchange.ParseXOAUTH2(response)
		if err != nil {
			if mailbox != "" || accessToken != "" {
				t.Fatal("an error came with values")
			}
			return
		}
		if mailbox == "" || accessToken == "" || strings.ContainsAny(mailbox+accessToken, "\x00\x01\r\n") {
			t.Fatalf("%q gave %q and %q", response, mailbox, accessToken)
		}
		again, sameToken, err := exchange.ParseXOAUTH2([]byte("user=" + mailbox + "\x01auth=Bearer " + accessToken + "\x01\x01"))
		if err != nil || again != mailbox || sameToken != accessToken {
			t.Fatalf("%q does not come back: %q, %q, %v", response, again, sameToken, err)
		}
	})
}
