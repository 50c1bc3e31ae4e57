// Package strictjson refuses documents that two programs could read in two ways,
// or that cost more to read than they say (RFC 8259, sections 4, 8 and 9): texts
// that are not UTF-8 or hold a NUL, a name twice in one object, and documents that
// are too deep or have too many values. Whether the rest is JSON the decoder says.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read at all.
const (
	Deepest = 32 // objects and lists within one another
	// FewValues are the members and items that any document may have, however short
	// they are; see MostValues.
	FewValues = 20_000
)

// MostValues is how many members and items a document of this size may have: one in
// eight bytes is more than any resource needs. So an operation's bound of its body
// bounds them too: the 8 MiB of apply are a million.
func MostValues(size int) int { return max(FewValues, size/8) }

// Check refuses such a document, in words that repeat none of it.
func Check(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("the document is not valid UTF-8")
	}
	var names []map[string]bool // of the objects that are open; nil for a list
	values := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			if len(names) == Deepest {
				return fmt.Errorf("objects and lists are more than %d deep within one another", Deepest)
			}
			var seen map[string]bool
			if b[i] == '{' {
				seen = map[string]bool{}
			}
			names = append(names, seen)
		case '}', ']':
			if len(names) == 0 {
				return nil // no JSON: the decoder says where
			}
			names = names[:len(names)-1]
		case ',':
			if values++; values > MostValues(len(b)) {
				return fmt.Errorf("the document has more than %d values", MostValues(len(b)))
			}
		case '"':
			end := endOfText(b, i)
			if end < 0 {
				return nil
			}
			text := b[i : end+1]
			i = end
			if hasNUL(text) {
				return errors.New("a text holds the character NUL")
			}
			if len(names) == 0 || names[len(names)-1] == nil || !named(b[end+1:]) {
				continue
			}
			var name string
			if json.Unmarshal(text, &name) != nil {
				return nil
			}
			// The decoder takes NAME for name where no member is called so.
			if name = strings.ToLower(name); names[len(names)-1][name] {
				return errors.New("a member stands twice in one object")
			}
			names[len(names)-1][name] = true
		}
	}
	return nil
}

// endOfText is where the text that begins at i ends; -1 where it does not.
func endOfText(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// hasNUL reports whether a text, as it is written, holds an escaped NUL.
func hasNUL(text []byte) bool {
	for i := 0; i+5 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if string(text[i+1:i+6]) == "u0000" {
			return true
		}
		i++ // what is escaped begins no escape
	}
	return false
}

// named reports whether a colon follows: the text before it is a name.
func named(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == ':'
	}
	return false
}
