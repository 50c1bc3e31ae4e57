package bench_test

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// pageGoal is what no page and no list may take longer than.
const pageGoal = 200 * time.Millisecond

// measurePages asks for every page and every list of a full database: whatever
// links and forms lead to from the first page, and whatever the API's own description
// lists, plain, far in, and with each filter.
func measurePages(b *bench) {
	pe := startPeers(b)
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		at := ""
		if database == "PostgreSQL" {
			at = testbed.StartPostgres(b).NewDatabase(b)
		}
		plan := stock.Standard()
		plan.Provider, plan.Mailbox = pe.provider(), mailboxAt(0, pe.SMTP)
		began := time.Now()
		h := newHouse(b, at, plan)
		fmt.Printf("pages: filled %s in %s\n", database, time.Since(began).Round(time.Second))
		p := h.start()
		w := &walk{bench: b, p: p, visitor: p.visitor(h), seen: map[string][]float64{}, worst: map[string]string{}}
		w.calls()
		fmt.Printf("pages: %d routes of the API on %s, after %s\n", len(w.seen), database, time.Since(began).Round(time.Second))
		w.pages()
		w.report(database)
		p.stop()
	}
}

// visitor is a signed-in operator's browser without pictures.
type visitor struct {
	b      *bench
	base   string
	cookie string
}

// visitor makes the first operator and signs in.
func (p *product) visitor(h *house) *visitor {
	p.b.Helper()
	link, err := os.ReadFile(filepath.Join(h.dir, "setup-link.txt"))
	p.b.must(err)
	at, err := url.Parse(strings.TrimSpace(string(link)))
	p.b.must(err)
	v := &visitor{b: p.b, base: p.base}
	form := url.Values{"name": {"anna"}, "password": {"correct horse battery staple"}, "repeat": {"correct horse battery staple"}}
	r, err := http.NewRequestWithContext(p.b.Context(), http.MethodPost, p.base+at.Path, strings.NewReader(form.Encode()))
	p.b.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(r)
	p.b.must(err)
	defer func() { _ = res.Body.Close() }()
	for _, c := range res.Cookies() {
		v.cookie = c.Name + "=" + c.Value
	}
	if v.cookie == "" {
		text, _ := io.ReadAll(res.Body)
		p.b.Fatalf("the first operator was not signed in: %s\n%s", res.Status, text)
	}
	return v
}

// get asks for a page and gives how long it took.
func (v *visitor) get(path string) (status int, body string, took time.Duration) {
	v.b.Helper()
	r, err := http.NewRequestWithContext(v.b.Context(), http.MethodGet, v.base+path, nil)
	v.b.must(err)
	r.Header.Set("Cookie", v.cookie)
	began := time.Now()
	res, err := http.DefaultTransport.RoundTrip(r)
	v.b.must(err)
	defer func() { _ = res.Body.Close() }()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, "", time.Since(began)
	}
	text, err := io.ReadAll(res.Body)
	v.b.must(err)
	return res.StatusCode, string(text), time.Since(began)
}

// walk goes over everything that can be asked for.
type walk struct {
	*bench
	p       *product
	visitor *visitor
	seen    map[string][]float64 // the medians of what a route was asked, by route
	worst   map[string]string    // what took longest there
}

// took records what was asked of a route.
func (w *walk) took(route, what string, ask func() time.Duration) {
	var all []float64
	for range rounds {
		all = append(all, float64(ask()))
		if len(all) == 3 && time.Duration(slices.Min(all)) > 2*pageGoal || time.Duration(all[0]) > 5*time.Second {
			break // bad enough
		}
		if len(all) == 3 && time.Duration(slices.Max(all)) < pageGoal/4 {
			break // good enough
		}
	}
	m := median(all)
	if len(w.seen[route]) == 0 || m > slices.Max(w.seen[route]) {
		w.worst[route] = what
	}
	w.seen[route] = append(w.seen[route], m)
}

func (w *walk) report(database string) {
	for _, route := range slices.SortedFunc(maps.Keys(w.seen), func(a, b string) int {
		return cmp.Compare(slices.Max(w.seen[b]), slices.Max(w.seen[a]))
	}) {
		m := time.Duration(slices.Max(w.seen[route]))
		f := finding{what: database + " " + route, ours: fmt.Sprintf("%s (%s; the slowest of %d)", span(m), cmp.Or(w.worst[route], "plain"), len(w.seen[route]))}
		if !whole.MatchString(route) {
			f.goal, f.met = "≤ 200 ms", judge(m <= pageGoal)
		}
		w.found(f)
	}
}

// calls walks the API's lists and records, as its description has them.
func (w *walk) calls() {
	var description struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   struct{ Enum []any }
			}
		}
	}
	w.p.call(w, http.MethodGet, "/openapi.json", nil, &description)
	for path, operations := range description.Paths {
		get, ok := operations["get"]
		if !ok {
			continue
		}
		concrete, ok := w.fill(path)
		if !ok {
			continue
		}
		variants := map[string]bool{"": true}
		for _, p := range get.Parameters {
			if p.In != "query" {
				continue
			}
			values := examples[p.Name]
			for _, v := range p.Schema.Enum {
				values = append(values, fmt.Sprint(v))
			}
			for _, v := range values {
				variants[url.Values{p.Name: {v}}.Encode()] = true
			}
			if p.Name == "cursor" {
				variants[w.farIn(concrete)] = true
			}
		}
		for query := range variants {
			target := concrete
			if query != "" {
				target += "?" + query
			}
			if _, ok := w.ask(target); !ok {
				continue // this list does not take such a value
			}
			w.took("GET "+path, query, func() time.Duration {
				took, _ := w.ask(target)
				return took
			})
		}
	}
}

// ask asks the API for something and gives how long the whole answer took; false
// where it was refused.
func (w *walk) ask(path string) (time.Duration, bool) {
	began := time.Now()
	res, err := w.p.local.Get("http://localhost" + path)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	w.must(err)
	return time.Since(began), res.StatusCode < 300
}

// examples are values for what is asked by name: of a busy mailbox, of a quiet
// one, of what is seldom and of what never was.
var examples = map[string][]string{
	"mailbox": {stock.Address(0), stock.Address(7777)}, "address": {stock.Address(7777)}, "kind": {"fetch.stopped", "operator.*", "message.received"},
	"q": {"desk0007777", "printer", "nothing of the kind"}, "search": {"desk0007777", "printer", "nothing of the kind"}, "subject": {"nothing of the kind"},
	"from": {"nobody@example.net"}, "provider": {"contoso"}, "limit": {"500"}, "webhook": {stock.WebhookName(1)}, "actor": {"nobody"},
}

// fill puts names into a path; false where nothing of the kind is stored.
func (w *walk) fill(path string) (string, bool) {
	path = strings.ReplaceAll(path, "{address}", stock.Address(0))
	if strings.Contains(path, "/providers/{") {
		path = strings.ReplaceAll(path, "{name}", "contoso")
	}
	if strings.Contains(path, "/webhooks/{") {
		path = strings.ReplaceAll(path, "{name}", stock.WebhookName(0))
	}
	before, after, more := strings.Cut(path, "/{id}")
	if more && !strings.Contains(before, "{") && !strings.Contains(before, "authorizations") {
		var list struct {
			Items []struct{ ID string }
		}
		w.p.call(w, http.MethodGet, before, nil, &list)
		if len(list.Items) > 0 {
			path = before + "/" + list.Items[0].ID + after
		}
	}
	return path, !strings.Contains(path, "{")
}

// farIn gives the query of a page some thousand rows in, or the last one.
func (w *walk) farIn(path string) string {
	query := ""
	for range 8 {
		var list struct{ Next string }
		w.p.call(w, http.MethodGet, path+"?limit=500&"+query, nil, &list)
		if list.Next == "" {
			break
		}
		query = url.Values{"cursor": {list.Next}}.Encode()
	}
	return query
}

var (
	whole    = regexp.MustCompile(`/(?:export|download)$`) // files of everything: they stream, and have no goal
	linked   = regexp.MustCompile(`(?:href|hx-get|src)="(/[^"#]*)`)
	formed   = regexp.MustCompile(`(?s)<form([^>]*)>(.*?)</form>`)
	action   = regexp.MustCompile(`action="([^"]*)"`)
	field    = regexp.MustCompile(`<(?:input|select)[^>]*?name="([^"]+)"`)
	choices  = regexp.MustCompile(`(?s)<select[^>]*?name="([^"]+)"[^>]*>(.*?)</select>`)
	choice   = regexp.MustCompile(`<option[^>]*?value="([^"]*)"`)
	variable = regexp.MustCompile(`^(?:desk.*|[0-9a-f]{8}-[0-9a-f-]{27}|contoso|\d+)$`)
)

// mostVisited bounds the pages of one walk; perRoute those of one route.
const (
	mostVisited = 250
	perRoute    = 10
)

// pages follows links and forms from the first page.
func (w *walk) pages() {
	queue, known, of := []string{"/"}, map[string]bool{"/": true}, map[string]int{}
	for visited := 0; len(queue) > 0 && visited < mostVisited; visited++ {
		path := queue[0]
		queue = queue[1:]
		if whole.MatchString(route(path)) {
			continue
		}
		status, body, _ := w.visitor.get(path)
		if status != http.StatusOK {
			continue
		}
		w.took("page "+route(path), strings.TrimPrefix(path, strings.SplitN(path, "?", 2)[0]), func() time.Duration {
			_, _, took := w.visitor.get(path)
			return took
		})
		for _, next := range leads(path, body) {
			if r := route(next); !known[next] && of[r] < perRoute && !strings.HasPrefix(next, "/assets/") && !strings.HasPrefix(next, "/logout") && !strings.HasPrefix(next, "//") {
				known[next] = true
				of[r]++
				queue = append(queue, next)
			}
		}
	}
}

// leads lists where a page leads: its links, and its forms that ask for something.
func leads(path, body string) []string {
	var out []string
	for _, m := range linked.FindAllStringSubmatch(body, -1) {
		out = append(out, html.UnescapeString(m[1]))
	}
	for _, m := range formed.FindAllStringSubmatch(body, -1) {
		if strings.Contains(strings.ToLower(m[1]), `method="post"`) {
			continue
		}
		to, _, _ := strings.Cut(path, "?")
		if a := action.FindStringSubmatch(m[1]); a != nil && a[1] != "" {
			to = html.UnescapeString(a[1])
		}
		for _, f := range field.FindAllStringSubmatch(m[2], -1) {
			for _, v := range examples[f[1]] {
				out = append(out, to+"?"+url.Values{f[1]: {v}}.Encode())
			}
		}
		for _, s := range choices.FindAllStringSubmatch(m[2], -1) {
			for _, o := range choice.FindAllStringSubmatch(s[2], -1) {
				out = append(out, to+"?"+url.Values{s[1]: {html.UnescapeString(o[1])}}.Encode())
			}
		}
	}
	return out
}

// route is a path without what differs from record to record.
func route(path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil && variable.MatchString(plain) {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}
