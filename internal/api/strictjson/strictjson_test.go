package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailgrant/mailgrant/internal/api/strictjson"
)

func TestCheck(t *testing.T) {
	for body, good := range map[string]bool{
		`{}`: true, `{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}`: true, `{"a":"\\u0000","b":"\\\\u0000"}`: true, `["a","a"]`: true,
		`{"a":"{\"a\":1,\"a\":2}"}`: true, strings.Repeat("[", strictjson.Deepest) + strings.Repeat("]", strictjson.Deepest): true,
		`{"a":1,"a":2}`: false, `{"a":1,"A":2}`: false, `{"a":1,"\u0061":2}`: false, `{"a":1 , "b":2, "a" : 3}`: false, `[{"a":1,"a":2}]`: false,
		`{"a":"\u0000"}`: false, `{"\u0000":1}`: false, "\"\xff\"": false,
		strings.Repeat("[", strictjson.Deepest+1): false, "[" + strings.Repeat("1,", strictjson.FewValues+1) + "1]": false,
	} {
		if err := strictjson.Check([]byte(body)); (err == nil) != good {
			t.Errorf("%.60s: %v", body, err)
		}
	}
}

// FuzzCheck compares with a reader of tokens: of what is JSON, exactly the
// documents with a fault are refused.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"a":"\u0000"}`, `{"a\\":"\\"}`, "\"\xff\"", `{"a":{"b":[1,2,{"c":null}]}}`, strings.Repeat(`[{"a":`, 20), `{"a":"\"","b":"}{"}`, `}{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := strictjson.Check(body)
		if !json.Valid(body) || bytes.Count(body, []byte(",")) > strictjson.MostValues(len(body)) {
			return // the decoder refuses it, or its number of values does
		}
		if faulty := hasFault(t, body); faulty != (err != nil) {
			t.Errorf("%q: %v, and a reader of tokens finds a fault: %v", body, err, faulty)
		}
	})
}

// hasFault looks for the same faults with the decoder of the standard library.
func hasFault(t *testing.T, body []byte) bool {
	if !utf8.Valid(body) {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	type open struct {
		names map[string]bool // nil for a list
		value bool            // a value comes next, not a name
	}
	var stack []open
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		text, isText := token.(string)
		if isText && strings.ContainsRune(text, 0) {
			return true
		}
		top := len(stack) - 1
		if top >= 0 && stack[top].names != nil && !stack[top].value && isText {
			name := strings.ToLower(text)
			if stack[top].names[name] {
				return true
			}
			stack[top].names[name] = true
			stack[top].value = true
			continue
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:top]
			continue
		}
		if top >= 0 {
			stack[top].value = false
		}
		if delim, ok := token.(json.Delim); ok {
			next := open{}
			if delim == '{' {
				next.names = map[string]bool{}
			}
			if stack = append(stack, next); len(stack) > strictjson.Deepest {
				return true
			}
		}
	}
}
