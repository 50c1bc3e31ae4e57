package acceptance_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// realMarkers are secrets that were seen on their way, each with what it is.
type realMarkers struct {
	mu   sync.Mutex
	kind map[string]string // by value
}

// shortestMarker keeps out what could be found anywhere by chance.
const shortestMarker = 8

func (m *realMarkers) add(kind string, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kind == nil {
		m.kind = map[string]string{}
	}
	for _, v := range values {
		if len(v) >= shortestMarker && m.kind[v] == "" {
			m.kind[v] = kind
		}
		// A JWT's signature alone would show that the rest was there too.
		if parts := strings.Split(v, "."); len(parts) == 3 && len(parts[2]) > 80 && strings.HasPrefix(v, "ey") {
			m.kind[parts[2]] = kind + "'s signature"
		}
	}
}

// kinds counts the markers of each kind.
func (m *realMarkers) kinds() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[string]int{}
	for _, k := range m.kind {
		n[k]++
	}
	return n
}

// realForms are the ways in which a value could be written: as it is, in a URL,
// in hexadecimal digits, and in base64, wherever in a longer text it begins.
func realForms(value string) map[string]string {
	forms := map[string]string{
		"clear": value, "query": url.QueryEscape(value), "path": url.PathEscape(value),
		"hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
	}
	for offset := range 3 {
		padded := append(make([]byte, offset), value...)
		// Only the digits that depend on nothing but the value.
		from, to := (offset*8+5)/6, (offset+len(value))*8/6
		forms["base64 "+string(rune('0'+offset))] = base64.RawStdEncoding.EncodeToString(padded)[from:to]
		forms["base64url "+string(rune('0'+offset))] = base64.RawURLEncoding.EncodeToString(padded)[from:to]
	}
	return forms
}

// realSight is something that somebody could read.
type realSight struct {
	where   string
	content []byte
	// may lists the values that belong there: the stated exceptions.
	may []string
}

// realLeak is a secret where it must not be.
type realLeak struct{ kind, form, where, around string }

// find looks for every marker in every form.
func (m *realMarkers) find(sights []realSight) []realLeak {
	m.mu.Lock()
	defer m.mu.Unlock()
	var leaks []realLeak
	for _, value := range slices.Sorted(maps.Keys(m.kind)) {
		forms := realForms(value)
		for _, s := range sights {
			if slices.ContainsFunc(s.may, func(allowed string) bool { return allowed == value || strings.HasSuffix(allowed, "."+value) }) {
				continue
			}
			for form, written := range forms {
				if at := bytes.Index(s.content, []byte(written)); at >= 0 {
					around := s.content[max(0, at-60):at]
					leaks = append(leaks, realLeak{kind: m.kind[value], form: form, where: s.where, around: string(around)})
					break
				}
			}
		}
	}
	return leaks
}

// realRecorder notes what goes between the people, the programs and the server:
// what they could read, and which secrets passed.
type realRecorder struct {
	markers *realMarkers
	network http.RoundTripper

	mu     sync.Mutex
	sights []realSight
}

// RoundTrip makes a call and notes the answer.
func (r *realRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.network.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, c := range answer.Cookies() {
		r.markers.add("session cookie", c.Value)
	}
	if u, err := answer.Location(); err == nil {
		r.markers.add("authorization code", u.Query().Get("code"))
	}
	if request.URL.Hostname() == "localhost" { // the server; the provider is on 127.0.0.1
		headers := answer.Header.Clone()
		headers.Del("Set-Cookie")
		location := headers.Get("Location")
		headers.Del("Location") // the way to the provider, and back with what a browser has to carry
		var written strings.Builder
		_ = headers.Write(&written)
		s := realSight{where: request.Method + " " + realPath(request.URL.Path), content: append([]byte(written.String()), body...)}
		// A link's own page posts to the link.
		for _, prefix := range []string{"/authorize/", "/setup/"} {
			if _, rest, found := strings.Cut(request.URL.Path, prefix); found {
				s.may = append(s.may, rest)
			}
			if _, rest, found := strings.Cut(location, prefix); found {
				r.markers.add("one-time link", rest)
				s.may = append(s.may, rest) // the way back to the link's own page
			}
		}
		s.may = append(s.may, r.shown(request, body)...)
		r.mu.Lock()
		r.sights = append(r.sights, s)
		r.mu.Unlock()
	}
	return answer, nil
}

// realPath leaves secrets out of a path.
func realPath(path string) string {
	for _, prefix := range []string{"/authorize/", "/setup/"} {
		if strings.HasPrefix(path, prefix) {
			return prefix + "…"
		}
	}
	return path
}

func (r *realRecorder) seen() []realSight {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sights)
}

// realLog takes what a server logs.
type realLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write takes a line.
func (l *realLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *realLog) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// TestRealForms_FindsALeak plants a value in the ways it could leak.
func TestRealForms_FindsALeak(t *testing.T) {
	const value = "mark~er/of+a?test"
	m := &realMarkers{}
	m.add("secret", value)
	for name, content := range map[string]string{
		"in clear":             `{"msg":"refused","token":"` + value + `"}`,
		"in a URL":             "https://idp.example/?code=" + url.QueryEscape(value) + "&x=1",
		"in hexadecimal":       `\x00` + hex.EncodeToString([]byte("x"+value+"y")),
		"in base64":            base64.StdEncoding.EncodeToString([]byte(value)),
		"in base64 after one":  base64.StdEncoding.EncodeToString([]byte("u" + value + "tail")),
		"in base64 after two":  base64.StdEncoding.EncodeToString([]byte("us" + value)),
		"in a SASL response":   base64.StdEncoding.EncodeToString([]byte("user=desk\x01auth=Bearer " + value + "\x01\x01")),
		"in base64 for URLs":   base64.RawURLEncoding.EncodeToString([]byte("client:" + value)),
		"in upper-case digits": strings.ToUpper(hex.EncodeToString([]byte(value))),
	} {
		t.Run(name, func(t *testing.T) {
			if leaks := m.find([]realSight{{where: "here", content: []byte(content)}}); len(leaks) != 1 {
				t.Errorf("found %d leaks in %s, want 1", len(leaks), content)
			}
		})
	}
	t.Run("an exception is none elsewhere", func(t *testing.T) {
		sights := []realSight{{where: "here", content: []byte(value), may: []string{value}}, {where: "there", content: []byte(value)}}
		if leaks := m.find(sights); len(leaks) != 1 || leaks[0].where != "there" {
			t.Errorf("found %+v, want the one that is not allowed", leaks)
		}
	})
	t.Run("nothing is found where nothing is", func(t *testing.T) {
		if leaks := m.find([]realSight{{where: "here", content: []byte("mark er of a test, harmless")}}); len(leaks) != 0 {
			t.Errorf("found %+v", leaks)
		}
	})
}
