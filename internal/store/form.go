package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// stamp is the stored form of an instant.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant is a stored instant, to scan into.
type instant struct{ to *time.Time }

// at scans a stored instant into t.
func at(t *time.Time) instant { return instant{t} }

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("an instant is stored as %T", v)
	}
	*i.to = time.Time{}
	if n != 0 {
		*i.to = time.UnixMicro(n).UTC()
	}
	return nil
}

// document scans JSON text into a value.
type document struct{ to any }

// from scans JSON text into v, which is a pointer. Empty text leaves it as it is.
func from(v any) document { return document{v} }

// Scan implements sql.Scanner.
func (d document) Scan(v any) error {
	var text []byte
	switch v := v.(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return fmt.Errorf("a document is stored as %T", v)
	}
	if len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, d.to)
}

// text is v as JSON.
func text(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write a document: %w", err)
	}
	return string(b), nil
}

// list is a list of strings as JSON; strings always can be written so.
func list[S ~string](items []S) string {
	if len(items) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(items)
	return string(b)
}

// sealed scans a sealed value.
type sealed struct{ to *seal.Sealed }

// shut scans a sealed value into s.
func shut(s *seal.Sealed) sealed { return sealed{s} }

// Scan implements sql.Scanner.
func (s sealed) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = seal.Sealed{}
	case []byte:
		*s.to = seal.SealedFromStore(v)
	default:
		return fmt.Errorf("a sealed value is stored as %T", v)
	}
	return nil
}

// bytesOf is what to store of a sealed value; nil (NULL) for none.
func bytesOf(s seal.Sealed) any {
	if s.IsZero() {
		return nil
	}
	return s.Bytes()
}

// condition collects the parts of a WHERE with their arguments.
type condition struct {
	parts []string
	args  []any
}

// arg adds an argument and gives its placeholder.
func (c *condition) arg(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

// add adds a part; each "?" in it stands for the next value.
func (c *condition) add(part string, values ...any) {
	for _, v := range values {
		part = strings.Replace(part, "?", c.arg(v), 1)
	}
	c.parts = append(c.parts, part)
}

// oneOf adds "column is one of values"; nothing for no values.
func oneOf[S ~string](c *condition, column string, values []S) {
	if len(values) == 0 {
		return
	}
	marks := make([]string, len(values))
	for i, v := range values {
		marks[i] = c.arg(string(v))
	}
	c.parts = append(c.parts, column+" IN ("+strings.Join(marks, ", ")+")")
}

// where is the clause, with a leading space; empty for no parts.
func (c *condition) where() string {
	if len(c.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.parts, " AND ")
}

// mostListed bounds what one call lists, whatever it is asked for.
const mostListed = 1000

// atMost is the number of rows to list.
func atMost(limit int) int {
	if limit <= 0 || limit > mostListed {
		return mostListed
	}
	return limit
}
