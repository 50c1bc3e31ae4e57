package resources_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/cli/resources"
)

// sources know one secret, one file and one setting.
func sources() resources.Sources {
	return resources.Sources{
		Variable: func(name string) string { return map[string]string{"SECRET": "planted"}[name] },
		Secret: func(path string) (string, error) {
			if path != "hook.key" {
				return "", errors.New("there is no such file")
			}
			return "planted too", nil
		},
		PEM:     func(path string) (string, error) { return "certificates of " + path + "\n", nil },
		Setting: func(name string) bool { return name == "listen" },
	}
}

func read(t *testing.T, text string) client.Document {
	t.Helper()
	f, wrong := resources.Read([]byte(text), sources())
	if len(wrong) > 0 {
		t.Fatalf("refused: %+v", wrong)
	}
	return f.Document
}

// Every member of client's types that a file may have is in the list, and nothing
// else is.
func TestKeys_AreThoseOfTheClient(t *testing.T) {
	t.Parallel()
	var want []string
	var walk func(t reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := strings.TrimPrefix(prefix+"."+name, ".")
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			switch {
			case f.Tag.Get("readOnly") == "true":
				continue
			case f.Anonymous:
				walk(inner, prefix)
				continue
			case of == reflect.TypeFor[client.ClientSecret]() && name == "value":
				want = append(want, prefix+".env", prefix+".file")
				continue
			case name == "secret":
				want = append(want, at, at+".env", at+".file")
				continue
			case name == "ca_pem":
				want = append(want, prefix+".ca_file")
			}
			want = append(want, at)
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
				walk(inner, at)
			}
		}
	}
	walk(reflect.TypeFor[client.Document](), "")
	var got []string
	for _, k := range resources.Keys() {
		if k.Takes == "" || strings.HasSuffix(k.Takes, ".") {
			t.Errorf("%s takes %q", k.Name, k.Takes)
		}
		got = append(got, k.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the list is not that of the types (-types +list):\n%s", d)
	}
}

func TestRead_TakesEveryForm(t *testing.T) {
	t.Parallel()
	got := read(t, `
providers:
  - name: example
    kind: generic
    issuer: https://idp.example
    client_id: "12345"
    ca_file: ca.pem
    endpoints: {token: 'https://idp.example/token'}
    client_secrets:
      - {env: SECRET, expires_at: 2027-05-01T12:00:00+02:00}
      - {id: one}
mailboxes:
  - address: desk@example.org
    provider: example
    acts_as: {delegate: adele@example.org}
    allow_unverifiable: true
    receive: {protocol: imap, port: 1993, ca_pem: "inline"}
    after_receive: {move: Done}
webhooks:
  - name: desk
    url: https://desk.example/hook
    secret: {file: hook.key}
    events: ["*"]
apps: []
`)
	want := client.Document{
		Providers: []client.Provider{{
			Name: "example", Kind: "generic", Issuer: "https://idp.example", ClientID: "12345", CAPEM: "certificates of ca.pem\n",
			Endpoints:     map[string]string{"token": "https://idp.example/token"},
			ClientSecrets: []client.ClientSecret{{Value: "planted", ExpiresAt: time.Date(2027, 5, 1, 10, 0, 0, 0, time.UTC)}, {ID: "one"}},
		}},
		Mailboxes: []client.Mailbox{{
			Address: "desk@example.org", Provider: "example", ActsAs: "delegate: adele@example.org", AllowUnverifiable: true, AfterReceive: "move: Done",
			Receive: &client.Receive{Protocol: "imap", MailServer: client.MailServer{Port: 1993, CAPEM: "inline"}},
		}},
		Webhooks: []client.Webhook{{Name: "desk", URL: "https://desk.example/hook", Secret: "planted too", Events: []string{"*"}}},
		Apps:     []client.App{},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read otherwise (-want +got):\n%s", d)
	}
}

func TestRead_TakesJSON(t *testing.T) {
	t.Parallel()
	got := read(t, `{"apps": [{"name": "desk", "may": ["read"], "expires_at": "2027-05-01"}]}`)
	if len(got.Apps) != 1 || got.Apps[0].ExpiresAt.IsZero() || got.Providers != nil {
		t.Errorf("%+v", got)
	}
}

// What is written is read back as it was, but for what no file holds.
func TestWrite_IsReadBack(t *testing.T) {
	t.Parallel()
	d := read(t, "apps:\n  - {name: desk, may: [read], expires_at: 2027-05-01}\n")
	d.Providers = []client.Provider{{
		Name: "example", Kind: "generic", ClientID: "12345", CAPEM: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		ClientSecrets: []client.ClientSecret{{ID: "one", ExpiresAt: time.Date(2027, 5, 1, 10, 30, 0, 5000, time.UTC)}},
		Endpoints:     map[string]string{"token": "https://idp.example/token", "authorization": "https://idp.example/a"},
		Authorize:     &client.Authorize{Prompt: "omit"}, Profiles: []client.Profile{{Name: "p", Scopes: []string{"...", "a: b", "*", "true"}}},
	}}
	d.Mailboxes = []client.Mailbox{{Address: "desk@example.org", Provider: "example", AfterReceive: "move: Done", ActsAs: "delegate: a@example.org", Send: &client.Send{Protocol: "smtp"}}}
	d.Webhooks = []client.Webhook{}
	text, err := resources.Write(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, read(t, string(text))); diff != "" {
		t.Errorf("read back otherwise (-written +read):\n%s\n%s", diff, text)
	}
}

func TestFile_FindsPlaces(t *testing.T) {
	t.Parallel()
	f, wrong := resources.Read([]byte("mailboxes:\n  - address: a@example.org\n    provider: p\n    receive:\n      protocol: imap\n      folders: [A, B]\n"), sources())
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for field, want := range map[string]string{
		"mailboxes[0].receive.folders[1]": "6:20", "mailboxes[0].receive.protocol": "5:17", "mailboxes[0].receive.port": "5:7",
		"mailboxes[0].send": "2:5", "mailboxes[7].address": "2:3", "apps[0].name": "1:1", "": "1:1",
	} {
		if p := f.Find(field); fmt.Sprintf("%d:%d", p.Line, p.Column) != want {
			t.Errorf("%s is found at %v, want %s", field, p, want)
		}
	}
}

func TestRead_BoundsWhatItRefuses(t *testing.T) {
	t.Parallel()
	for outcome, text := range map[string]string{
		"a bomb of aliases":  "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\napps: [*c,*c]\n",
		"deep nesting":       "apps: " + strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000) + "\n",
		"an alias of itself": "apps: &a [*a]\n",
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			_, wrong := resources.Read([]byte(text), sources())
			if len(wrong) == 0 {
				t.Fatal("nothing is refused")
			}
			for _, m := range wrong {
				if m.Line < 1 || m.Column < 1 || m.Text == "" || m.Remedy == "" {
					t.Errorf("told by half: %+v", m)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	example, err := os.ReadFile("../testdata/resources/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, seed := range []string{"", "a: *b", "apps: &a [*a]", "? [a]\n: b", "apps:\n- {name: x, may: [\"\x00\"]}", "<<: {apps: []}", "%YAML 1.2\n---\napps: []", "apps: !!set {a}", "\xef\xbb\xbfapps: []"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, wrong := resources.Read(raw, sources())
		lines := strings.Count(string(raw), "\n") + 2
		for _, m := range wrong {
			if m.Line < 1 || m.Line > lines || m.Column < 1 || m.Text == "" || m.Remedy == "" {
				t.Fatalf("told by half: %+v", m)
			}
		}
		if len(wrong) > 0 {
			return
		}
		text, err := resources.Write(file.Document)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := resources.Write(file.Document); err != nil || len(text) == 0 {
			t.Fatal(err)
		}
	})
}

// What export writes of many mailboxes, apply reads.
func TestRead_TenThousandMailboxes(t *testing.T) {
	t.Parallel()
	d := client.Document{}
	for i := range 10_000 {
		d.Mailboxes = append(d.Mailboxes, client.Mailbox{
			Address: fmt.Sprintf("user%05d@example.org", i), Provider: "contoso", GrantType: "authorization_code", ActsAs: "owner",
			Receive: &client.Receive{Protocol: "imap", Folders: []string{"INBOX"}, Mode: "push"}, Send: &client.Send{Protocol: "smtp"}, AfterReceive: "keep",
		})
	}
	written, err := resources.Write(d)
	if err != nil {
		t.Fatal(err)
	}
	if len(written) < 2<<20 || len(written) > resources.MaxSize {
		t.Fatalf("the file has %d bytes", len(written))
	}
	if back := read(t, string(written)); len(back.Mailboxes) != 10_000 || !cmp.Equal(back.Mailboxes[9_999], d.Mailboxes[9_999]) {
		t.Errorf("%d came back, at last %+v", len(back.Mailboxes), back.Mailboxes[len(back.Mailboxes)-1])
	}
}
