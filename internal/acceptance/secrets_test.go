package acceptance_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// realSecrets is a server whose every secret is known to the test.
type realSecrets struct {
	*realServer
	h        *realTenant
	d        *realDesk
	m        *realMarkers
	recorder *realRecorder
	log      *realLog
	db       *sql.DB
	database string // as in the settings
}

const (
	realOperatorPassword = "marker-operator-password-41"
	realDatabasePassword = "marker-database-password-42"
)

// shown lists what an answer may show: that which was asked for by name.
func (r *realRecorder) shown(request *http.Request, body []byte) (may []string) {
	path, text := request.URL.Path, string(body)
	take := func(kind, pattern string) {
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			r.markers.add(kind, found[1])
			may = append(may, found[1])
		}
	}
	switch {
	case request.Method == http.MethodPut && strings.HasPrefix(path, "/v1/apps/"):
		take("API key", `"api_key":"([^"]+)"`)
	case request.Method != http.MethodPost:
		return nil
	case path == "/apps", strings.HasPrefix(path, "/apps/") && strings.HasSuffix(path, "/renew"):
		take("API key", `(mgk_[\w-]{43})`)
	case path == "/operators", strings.HasPrefix(path, "/operators/") && strings.HasSuffix(path, "/link"):
		take("set-up link", `/setup/([\w-]{43})`)
	case strings.HasSuffix(path, "/authorizations"), strings.HasPrefix(path, "/mailboxes/") && strings.HasSuffix(path, "/link"):
		take("one-time link", `/authorize/([\w-]{20,})`)
	case strings.HasSuffix(path, "/token"):
		take("access token", `"access_token":"([^"]+)"`)
	case path == "/v1/apps", strings.HasPrefix(path, "/v1/apps/") && strings.HasSuffix(path, "/key"):
		take("API key", `"api_key":"([^"]+)"`)
	case path == "/v1/webhooks":
		take("webhook secret", `"secret":"([^"]+)"`)
	}
	return may
}

func realOpenSecrets(t *testing.T, onPostgres bool) *realSecrets {
	t.Helper()
	s := &realSecrets{log: &realLog{}}
	o := realOptions{logger: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	var base string
	o.listener, base = realListen(t)
	s.h = realOpenTenant(t, base+"/oauth/callback")
	s.m, o.now = s.h.markers, s.h.now
	network := &http.Transport{DisableKeepAlives: true}
	s.recorder = &realRecorder{markers: s.m, network: network}
	o.network, s.h.windows = s.recorder, s.recorder
	if onPostgres {
		u, err := url.Parse(testbed.StartPostgres(t).NewDatabase(t))
		must(t, err)
		u.User = url.UserPassword(u.User.Username(), realDatabasePassword)
		o.database = u.String()
		s.m.add("database password", realDatabasePassword)
	}
	s.realServer = realOpen(t, o)
	s.m.add("API key", s.key)
	s.d = realOpenDesk(t)
	s.m.add("webhook secret", s.d.secret, strings.TrimPrefix(s.d.secret, "whsec_"))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.d.secret, "whsec_"))
	must(t, err)
	s.m.add("webhook secret", string(raw))
	s.m.add("password", directory.StoryDeskPassword, directory.StoryAdelePassword, realOperatorPassword)

	driver, source := "sqlite", "file:"+filepath.Join(s.data, "mailgrant.db")
	if onPostgres {
		driver, source = "pgx", o.database
	}
	s.database = o.database
	s.db, err = sql.Open(driver, source)
	must(t, err)
	t.Cleanup(func() { _ = s.db.Close() })
	return s
}

// TestSecretsStayInside plays the whole story, failures included, and then
// looks for every secret that passed in everything that anybody can read, and
// in everything that is stored.
func TestSecretsStayInside(t *testing.T) {
	if testing.Short() {
		t.Skip("plays the whole story")
	}
	for _, name := range []string{"SQLite", "PostgreSQL"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := realOpenSecrets(t, name == "PostgreSQL")
			s.d.subscribe(t, s.realServer)
			s.h.furnish(t, s.realServer)
			s.operatorSignsIn(t)
			s.people(t)
			s.mail(t)
			s.operatorLooks(t)
			s.team(t)
			s.renewals(t)
			s.programs(t)
			s.badCalls(t)
			s.theEnd(t)
			s.h.skew.Store(0) // by the clock as it was moved the operator's session is over
			s.operatorLooks(t)
			s.search(t)
		})
	}
}

// try makes a call whose refusal is part of the story.
func (s *realSecrets) try(t *testing.T, method, path string, body any, want int) {
	t.Helper()
	status, answer, err := s.call(t.Context(), method, path, body)
	must(t, err)
	if status != want {
		t.Errorf("%s %s: %d, want %d: %s", method, path, status, want, answer)
	}
}

// operatorSignsIn sets a password by the set-up link, and fails once to sign in.
func (s *realSecrets) operatorSignsIn(t *testing.T) {
	var link struct {
		URL string `json:"url"`
	}
	s.local(t, "/v1/operators/setup", nil, &link)
	_, secret, _ := strings.Cut(link.URL, "/setup/")
	s.m.add("set-up link", secret)
	window := browser.New(browser.Options{Transport: s.recorder})
	must(t, window.Open(t.Context(), link.URL))
	must(t, window.Submit(t.Context(), browser.Action("/setup/"+secret), map[string]string{"name": "anna", "password": realOperatorPassword}))
	other := browser.New(browser.Options{Transport: s.recorder})
	must(t, other.Open(t.Context(), s.base+"/login/local"))
	wrong := realOperatorPassword + "-mistyped"
	s.m.add("password", wrong)
	must(t, other.Submit(t.Context(), browser.Button("Sign in"), map[string]string{"name": "anna", "password": wrong}))
	must(t, other.Open(t.Context(), link.URL)) // spent
}

// people come by links: the wrong one, the right one, and with bad answers.
func (s *realSecrets) people(t *testing.T) {
	page := s.h.authorize(t, s.link(t, directory.StoryDesk).URL, directory.StoryAdele, directory.StoryAdelePassword)
	if !page.Contains("The wrong person was signed in") {
		t.Fatalf("the page says: %s", page.Text)
	}
	s.nothingStored(t, directory.StoryDesk)
	s.h.connect(t, s.realServer)

	window := browser.New(browser.Options{Transport: s.recorder})
	s.m.add("authorization code", "marker-forged-code-43")
	for _, path := range []string{
		"/oauth/callback?code=marker-forged-code-43&state=marker-forged-state",
		"/oauth/callback?error=access_denied&error_description=no&state=marker-forged-state",
		"/authorize/marker-unknown-link-44",
	} {
		must(t, window.Open(t.Context(), s.base+path))
	}
	// A wrong client secret, and the code that it is sent with.
	const wrong = "marker-wrong-client-secret-45"
	s.m.add("client secret", wrong)
	s.h.saveProvider(t, s.realServer, wrong)
	s.try(t, http.MethodPost, "/v1/providers/contoso/verify", nil, http.StatusBadGateway)
	s.h.authorize(t, s.link(t, directory.StoryDesk).URL, directory.StoryDesk, directory.StoryDeskPassword)
	s.h.saveProvider(t, s.realServer, directory.StoryClientSecret)
}

func (s *realSecrets) mail(t *testing.T) {
	s.h.deliver(t, "The printer is on fire")
	s.d.received(t, "The printer is on fire")
	s.d.sent(t, s.submit(t, directory.StoryDesk, directory.StoryAdele, "Somebody is on the way"))
	s.ask(t, http.MethodPost, "/v1/mailboxes/"+directory.StoryDesk+"/test", map[string]string{"send_to": directory.StoryAdele}, nil)
}

// renewals go well, and wrong in every way that is not the end.
func (s *realSecrets) renewals(t *testing.T) {
	world, token := s.h.box.World(), "/v1/mailboxes/"+directory.StoryDesk+"/token"
	for _, f := range []directory.Fault{
		{Action: directory.ActionRefuse, AADSTS: 7000222}, {Action: directory.ActionStatus, Status: 503}, {Action: directory.ActionCut}, {Action: directory.ActionCutAfter},
	} {
		s.h.advance(95 * time.Minute)
		f.Point, f.GrantType, f.Times = directory.PointToken, "refresh_token", 3
		must(t, world.InjectFault(f))
		if status, answer, err := s.call(t.Context(), http.MethodPost, token, nil); err != nil || status < 400 {
			t.Errorf("lent in spite of %s: %d %s %v", f.Action, status, answer, err)
		}
		world.ClearFaults("")
		realAwait(t, fmt.Sprintf("renewal works again after %s", f.Action), func() bool {
			status, _, err := s.call(t.Context(), http.MethodPost, token, nil)
			if err != nil || status != http.StatusOK {
				s.h.advance(10 * time.Minute) // over the pause between tries
			}
			return err == nil && status == http.StatusOK
		})
	}
}

// programs use what is there, and rotate the sealing key.
func (s *realSecrets) programs(t *testing.T) {
	lent := s.lend(t, directory.StoryDesk, "5m")
	s.ask(t, http.MethodPost, "/v1/inspect", map[string]string{"token": lent, "mailbox": directory.StoryDesk}, nil)
	s.ask(t, http.MethodPost, "/v1/keys/rotate", nil, nil)
	if again := s.lend(t, directory.StoryDesk, "5m"); again != lent {
		t.Error("the rotation of the sealing key lost the access token")
	}
	s.ask(t, http.MethodPost, "/v1/apps", map[string]any{"name": "short-lived", "may": []string{"read"}}, nil)
	s.ask(t, http.MethodPost, "/v1/webhooks", map[string]any{"name": "spare", "url": s.d.url, "events": []string{"keys.*"}}, nil)
	for _, path := range []string{
		"/v1/providers", "/v1/providers/contoso", "/v1/mailboxes", "/v1/mailboxes/" + directory.StoryDesk, "/v1/webhooks", "/v1/webhooks/desk", "/v1/apps",
		"/v1/mailboxes/" + directory.StoryDesk + "/grant", "/v1/messages", "/v1/submissions", "/v1/events?limit=500", "/openapi.json",
	} {
		s.ask(t, http.MethodGet, path, nil, nil)
	}
	for _, path := range []string{"/openapi.json", "/metrics", "/healthz", "/readyz"} {
		s.try(t, http.MethodGet, path, nil, http.StatusOK)
	}
}

// badCalls carry secrets to where they do not belong.
func (s *realSecrets) badCalls(t *testing.T) {
	const misplaced = "marker-misplaced-secret-46"
	s.m.add("misplaced secret", misplaced)
	for path, body := range map[string]any{
		"/v1/providers":  map[string]any{"name": "bad", "kind": "microsoft", "client_id": "x", "client_secrets": misplaced},
		"/v1/inspect":    map[string]any{"token": map[string]string{"value": misplaced}},
		"/v1/webhooks":   map[string]any{"name": "bad", "url": s.d.url, "secret": []string{misplaced}, "events": []string{"*"}},
		"/v1/apps":       map[string]any{"name": "bad", "may": []string{"read"}, "api_key": []string{misplaced}},
		"/v1/mailboxes":  map[string]any{"address": "a@example.test", "provider": "contoso", "password": misplaced},
		"/v1/keys/check": misplaced,
	} {
		if status, answer, err := s.call(t.Context(), http.MethodPost, path, body); err != nil || status < 400 {
			t.Errorf("POST %s: %d %s %v", path, status, answer, err)
		}
	}
	s.try(t, http.MethodPost, "/v1/webhooks", map[string]any{"name": "bad", "url": s.d.url, "secret": "whsec_" + misplaced + "!", "events": []string{"*"}}, http.StatusUnprocessableEntity)
	s.try(t, http.MethodPost, "/v1/inspect", map[string]any{"token": misplaced}, http.StatusOK)
	s.try(t, http.MethodPost, "/v1/mailboxes/"+directory.StoryDesk+"/token", map[string]any{"resource": "moon"}, http.StatusUnprocessableEntity)
	const unknown = "mgk_marker-unknown-api-key-47"
	s.m.add("API key", unknown)
	for _, header := range []string{"Bearer " + unknown, "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+unknown))} {
		status, _, err := realCall(t.Context(), s.http, http.MethodGet, s.base+"/v1/mailboxes", http.Header{"Authorization": {header}}, nil)
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("an unknown API key: %d %v", status, err)
		}
	}
	env := []string{"MAILGRANT_DATABASE=postgres://mailgrant:" + realDatabasePassword + "@nowhere.invalid:bad/db", "MAILGRANT_DATA_DIR=" + t.TempDir()}
	if cfg, err := config.Load("/dev/null", env); err != nil {
		s.recorder.sights = append(s.recorder.sights, realSight{where: "a refused setting", content: []byte(err.Error())})
	} else {
		s.recorder.sights = append(s.recorder.sights, realSight{where: "settings with a broken URL", content: []byte(cfg.Print())})
	}
	s.m.add("database password", realDatabasePassword)
}

// operatorLooks at every page there is.
func (s *realSecrets) operatorLooks(t *testing.T) {
	window := browser.New(browser.Options{Transport: s.recorder})
	must(t, window.Open(t.Context(), s.base+"/login/local"))
	must(t, window.Submit(t.Context(), browser.Button("Sign in"), map[string]string{"name": "anna", "password": realOperatorPassword}))
	mailbox := s.base + "/mailboxes/" + directory.StoryDesk
	for _, page := range []string{s.base + "/", mailbox, s.base + "/nowhere", s.base + "/sign-in-problem"} {
		must(t, window.Open(t.Context(), page))
	}
	must(t, window.Open(t.Context(), mailbox))
	if !window.Page().Contains(directory.StoryDesk) {
		t.Fatalf("the operator does not see the mailbox, but: %s", window.Page().Text)
	}
	for _, action := range []string{"/link", "/test", "/pause"} {
		must(t, window.Open(t.Context(), mailbox))
		must(t, window.Submit(t.Context(), browser.Action(action), nil))
	}
	must(t, window.Open(t.Context(), mailbox))
	must(t, window.Submit(t.Context(), browser.Action("/resume"), nil))
	must(t, window.Open(t.Context(), mailbox))
	must(t, window.Submit(t.Context(), browser.Action("/logout"), nil))
}

// theEnd of the grant: the provider revokes it.
func (s *realSecrets) theEnd(t *testing.T) {
	must(t, s.h.box.World().RevokeSessions(directory.StoryDesk))
	s.h.advance(2 * time.Hour)
	realAwait(t, "the grant is dead", func() bool {
		_, _, err := s.call(t.Context(), http.MethodPost, "/v1/mailboxes/"+directory.StoryDesk+"/token", nil)
		return err == nil && s.grant(t, directory.StoryDesk).State == "dead"
	})
	s.ask(t, http.MethodGet, "/v1/events?limit=500", nil, nil)
}

// search looks everywhere, and then shows that it would have found a leak.
func (s *realSecrets) search(t *testing.T) {
	for kind, least := range map[string]int{
		"client secret": 2, "refresh token": 2, "access token": 4, "authorization code": 3, "code verifier": 2, "ID token": 2,
		"password": 6, "API key": 7, "webhook secret": 3, "one-time link": 3, "set-up link": 4, "session cookie": 3,
	} {
		if n := s.m.kinds()[kind]; n < least {
			t.Errorf("%d markers of the kind %s passed, want at least %d: the story tests too little", n, kind, least)
		}
	}
	sights := s.everything(t)
	for _, l := range s.m.find(sights) {
		t.Errorf("a secret (%s) is in %s, in the form %s, after: %q", l.kind, l.where, l.form, l.around)
	}

	const planted = "marker-planted-on-purpose-48"
	s.m.add("planted", planted)
	slog.New(slog.NewJSONHandler(s.log, nil)).Info("planted", "value", base64.StdEncoding.EncodeToString([]byte("user="+planted)))
	for _, statement := range []string{
		"CREATE TABLE planted (clear text, hidden text)",
		"INSERT INTO planted VALUES ('" + planted + "', '" + hex.EncodeToString([]byte(planted)) + "')",
	} {
		_, err := s.db.ExecContext(t.Context(), statement)
		must(t, err)
	}
	found := map[string]bool{}
	for _, l := range s.m.find(s.everything(t)) {
		found[l.where] = true
	}
	want := []string{"the log", "planted.clear", "planted.hidden"}
	if s.database == "" {
		want = append(want, "the database's files")
	}
	for _, where := range want {
		if !found[where] {
			t.Errorf("a secret planted in %s was not found", where)
		}
	}
}

// everything is what can be read, and what is stored.
func (s *realSecrets) everything(t *testing.T) []realSight {
	sights := append(s.recorder.seen(), realSight{where: "the log", content: s.log.bytes()})
	hooks, _ := s.d.all()
	for _, h := range hooks {
		sights = append(sights, realSight{where: "the webhook call for " + string(h.Type), content: []byte(h.dump)})
	}
	cfg, err := config.Load("/dev/null", []string{"MAILGRANT_DATABASE=" + s.database, "MAILGRANT_DATA_DIR=" + s.data})
	must(t, err)
	sights = append(sights, realSight{where: "--print-config", content: []byte(cfg.Print())})
	if s.database == "" {
		for _, ending := range []string{"", "-wal", "-shm"} {
			b, err := os.ReadFile(filepath.Join(s.data, "mailgrant.db"+ending))
			must(t, err)
			sights = append(sights, realSight{where: "the database's files", content: b})
		}
	}
	return append(sights, s.columns(t)...)
}

// columns reads every column of every table.
func (s *realSecrets) columns(t *testing.T) []realSight {
	list := "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
	if s.database != "" {
		list = "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
	}
	contents := map[string][]byte{}
	var tables []string
	realRows(t, s.db, list, func(_ []string, row []any) { tables = append(tables, string(realBytes(row[0]))) })
	if len(tables) < 10 {
		t.Fatalf("only these tables were found: %s", tables)
	}
	for _, table := range tables {
		realRows(t, s.db, "SELECT * FROM "+table, func(names []string, row []any) {
			for i, value := range row {
				where := strings.TrimPrefix(table, "public.") + "." + names[i]
				contents[where] = append(append(contents[where], 0), realBytes(value)...)
			}
		})
	}
	var sights []realSight
	for where, content := range contents {
		sights = append(sights, realSight{where: where, content: content})
	}
	return sights
}

func realBytes(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	default:
		return fmt.Append(nil, v)
	}
}

func realRows(t *testing.T, db *sql.DB, query string, each func(names []string, row []any)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), realPatience)
	defer cancel()
	rows, err := db.QueryContext(ctx, query)
	must(t, err)
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		row, into := make([]any, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		must(t, rows.Scan(into...))
		each(names, row)
	}
	must(t, rows.Err())
}
