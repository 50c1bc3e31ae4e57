package sasl_test

import (
	"fmt"
	"strings"
	"testing"

	gosasl "github.com/emersion/go-sasl"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/sasl"
	"github.com/mailgrant/mailgrant/internal/seal"
)

var _ gosasl.Client = (*sasl.Bearer)(nil)

const marker = "marker-5b1c-access-token"

func TestBearer_SpeaksTheMechanism(t *testing.T) {
	t.Parallel()
	token := seal.NewSecret(marker)
	for name, c := range map[string]struct {
		client *sasl.Bearer
		want   string
		answer string
	}{
		"XOAUTH2 names the mailbox and answers a challenge with nothing": {
			sasl.NewXOAUTH2("servicedesk@vbcpn.onmicrosoft.com", token),
			"user=servicedesk@vbcpn.onmicrosoft.com\x01auth=Bearer " + marker + "\x01\x01", "",
		},
		"OAUTHBEARER names host and port and answers with 0x01": {
			sasl.NewOAUTHBEARER("user@example.com", token, "server.example.com", 143),
			"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + marker + "\x01\x01", "\x01",
		},
		"OAUTHBEARER escapes comma and equals sign": {
			sasl.NewOAUTHBEARER("a,b=c@example.com", token, "", 0),
			"n,a=a=2Cb=3Dc@example.com,\x01auth=Bearer " + marker + "\x01\x01", "\x01",
		},
		"OAUTHBEARER without a user leaves the identity to the server": {
			sasl.NewOAUTHBEARER("", token, "", 0), "n,,\x01auth=Bearer " + marker + "\x01\x01", "\x01",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got, err := c.client.Start()
			if err != nil || string(got) != c.want {
				t.Fatalf("Start = %q, %v; want %q", got, err, c.want)
			}
			if _, ok := c.client.Challenge(); ok {
				t.Fatal("a challenge is reported before one came")
			}
			answer, err := c.client.Next([]byte(`{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}`))
			if err != nil || answer == nil || string(answer) != c.answer {
				t.Fatalf("Next = %q, %v; want %q", answer, err, c.answer)
			}
			said, ok := c.client.Challenge()
			if !ok || said.Status != "401" || said.Scope != "https://mail.google.com/" {
				t.Fatalf("Challenge = %+v, %v", said, ok)
			}
			if _, err := c.client.Next(nil); err == nil {
				t.Fatal("a second challenge is accepted")
			}
			if _, _, err := c.client.Start(); err == nil {
				t.Fatal("the exchange can be used twice")
			}
		})
	}
}

func TestBearer_RefusesWhatBreaksTheForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		client *sasl.Bearer
		id     string
	}{
		"a separator in the user":     {sasl.NewXOAUTH2("a\x01auth=Bearer x", seal.NewSecret(marker)), "sasl.bad_user"},
		"no user":                     {sasl.NewXOAUTH2("", seal.NewSecret(marker)), "sasl.bad_user"},
		"a line end in the host":      {sasl.NewOAUTHBEARER("a", seal.NewSecret(marker), "h\r\n", 1), "sasl.bad_user"},
		"no access token":             {sasl.NewXOAUTH2("a", seal.Secret{}), "sasl.bad_access_token"},
		"a separator in the token":    {sasl.NewXOAUTH2("a", seal.NewSecret(marker+"\x01x=y")), "sasl.bad_access_token"},
		"a space in the access token": {sasl.NewOAUTHBEARER("a", seal.NewSecret(marker+" x"), "", 0), "sasl.bad_access_token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ir, err := c.client.Start()
			if !fault.Has(err, c.id) || ir != nil {
				t.Fatalf("Start = %q, %v; want %s", ir, err, c.id)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, c.client), marker) {
				t.Fatal("the access token shows")
			}
		})
	}
}

func TestBearer_KeepsAChallengeThatIsNoJSON(t *testing.T) {
	t.Parallel()
	b := sasl.NewXOAUTH2("a", seal.NewSecret(marker))
	if _, _, err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Next([]byte("go\r\naway" + strings.Repeat("x", 10_000))); err != nil {
		t.Fatal(err)
	}
	if c, _ := b.Challenge(); !strings.HasPrefix(c.String(), "go  away") || len(c.String()) > 510 {
		t.Fatalf("Challenge = %q", c)
	}
}

func TestParse_RefusesMalformed(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "\x01\x01", "user=a\x01\x01", "user=a\x01auth=Bearer x\x01", "user=a\x01auth=Basic x\x01\x01",
		"user=a\x01user=b\x01auth=Bearer x\x01\x01", "auth=Bearer x\x01\x01", "user=a\x01auth=Bearer \x01\x01",
	} {
		if in, err := sasl.ParseXOAUTH2([]byte(s)); err == nil {
			t.Errorf("ParseXOAUTH2(%q) = %+v", s, in)
		}
	}
	for _, s := range []string{
		"", "n,\x01auth=Bearer x\x01\x01", "p=tls-unique,,\x01auth=Bearer x\x01\x01", "n,b=x,\x01auth=Bearer x\x01\x01",
		"n,a=x=zz,\x01auth=Bearer x\x01\x01", "n,,\x01port=99999\x01auth=Bearer x\x01\x01", "n,,\x01host=h\x01\x01",
	} {
		if in, err := sasl.ParseOAUTHBEARER([]byte(s)); err == nil {
			t.Errorf("ParseOAUTHBEARER(%q) = %+v", s, in)
		}
	}
}

func seeds(f *testing.F) {
	f.Add([]byte("user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"))
	f.Add([]byte("n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"))
	f.Add([]byte("n,a=a=2Cb=3Dc,\x01auth=Bearer x\x01\x01"))
	f.Add([]byte("\x01"))
}

func FuzzParseXOAUTH2(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := sasl.ParseXOAUTH2(b)
		if err != nil {
			return
		}
		_, again, err := sasl.NewXOAUTH2(in.User, in.AccessToken).Start()
		if err != nil {
			t.Fatalf("what was parsed cannot be said: %v", err)
		}
		if back, err := sasl.ParseXOAUTH2(again); err != nil || back != in {
			t.Fatalf("said again: %v", err)
		}
	})
}

func FuzzParseOAUTHBEARER(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := sasl.ParseOAUTHBEARER(b)
		if err != nil {
			return
		}
		_, again, err := sasl.NewOAUTHBEARER(in.User, in.AccessToken, in.Host, in.Port).Start()
		if err != nil {
			t.Fatalf("what was parsed cannot be said: %v", err)
		}
		if back, err := sasl.ParseOAUTHBEARER(again); err != nil || back != in {
			t.Fatalf("said again: %v", err)
		}
	})
}
