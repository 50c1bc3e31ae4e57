package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// window is how many rows one page looks at, at most, for those that it is asked
// for; a listing of large rows looks at fewer. A page that found too few by then ends there and says where to go on: it
// takes bounded time however much is stored and however rare what is sought is.
const window = 10_000

// mostBranches bounds the parts of one query; SQLite allows 500.
const mostBranches = 100

// listing is a list in the order of a key. Rows are reached through an index
// that begins with path and ends with the key, for each of values apart; without
// values, by the key alone.
type listing struct {
	table, columns string
	key            string // unique
	ascending      bool
	limit          int
	window         int // 0: window

	path   string
	values []string
	// bounds are conditions that nearly every row fulfils which is met on the way:
	// ranges of the key.
	bounds func(*condition)
	// rest are conditions that have to be looked at row by row; nil: none.
	rest func(*condition)
}

// follow adds the values of a column to the conditions: as the path to the rows
// while there is none, else as one more condition of the rest.
func follow[S ~string](l *listing, column string, values []S) {
	switch {
	case len(values) == 0:
	case l.path == "" && len(values) <= mostBranches:
		l.path = column
		for _, v := range values {
			l.values = append(l.values, string(v))
		}
	default:
		l.filter(func(c *condition) { oneOf(c, column, values) })
	}
}

// filter adds a condition that has to be looked at row by row.
func (l *listing) filter(more func(*condition)) {
	before := l.rest
	l.rest = func(c *condition) {
		if before != nil {
			before(c)
		}
		more(c)
	}
}

// contain adds the condition that an expression, in lower case, holds a text.
func (l *listing) contain(expression, text string) {
	if text == "" {
		return
	}
	l.filter(func(c *condition) {
		c.add(expression+` LIKE lower(CAST(? AS TEXT)) ESCAPE '\'`, "%"+strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(plain(text))+"%")
	})
}

// between adds the condition that a column of times lies in a range; zero times
// bound nothing.
func (l *listing) between(column string, since, until time.Time) {
	if !since.IsZero() {
		l.filter(func(c *condition) { c.add(column+" >= ?", stamp(since)) })
	}
	if !until.IsZero() {
		l.filter(func(c *condition) { c.add(column+" < ?", stamp(until)) })
	}
}

func (l *listing) order() string {
	if l.ascending {
		return "ASC"
	}
	return "DESC"
}

// branches writes a SELECT for each way to the rows.
func (l *listing) branches(c *condition, what, tail string) string {
	values := l.values
	if len(values) == 0 {
		values = []string{""}
	}
	shared := c.parts
	var out []string
	for _, v := range values {
		one := condition{args: c.args, parts: shared}
		if l.path != "" {
			one.parts = append([]string{l.path + " = " + one.arg(v)}, shared...)
		}
		c.args = one.args
		out = append(out, "SELECT "+what+" FROM "+l.table+one.where()+" ORDER BY "+l.key+" "+l.order()+" "+tail)
	}
	if len(out) == 1 {
		return out[0]
	}
	for i := range out {
		out[i] = fmt.Sprintf("SELECT * FROM (%s) AS way%d", out[i], i)
	}
	return strings.Join(out, " UNION ALL ")
}

// edge gives the key of the last row that a page may look at; nil: it may look
// at all that are left.
func (l *listing) edge(ctx context.Context, s *Store) (any, error) {
	if l.rest == nil {
		return nil, nil
	}
	looked := l.window
	if looked == 0 {
		looked = window
	}
	each, furthest := max(1, looked/max(1, len(l.values))), "MAX"
	if l.ascending {
		furthest = "MIN"
	}
	var c condition
	l.bounds(&c)
	var edge any
	query := "SELECT " + furthest + "(k) FROM (" + l.branches(&c, l.key+" AS k", fmt.Sprintf("LIMIT 1 OFFSET %d", each-1)) + ") AS edges"
	err := s.read.QueryRowContext(ctx, query, c.args...).Scan(&edge)
	if b, is := edge.([]byte); is {
		edge = string(b)
	}
	return edge, err
}

// page gives the rows of one page, at most limit, to each. more says that there
// are others; edge, where it is not nil, that only the rows up to this key were
// looked at.
func (l *listing) page(ctx context.Context, s *Store, each func(scanner) error) (more bool, edge any, err error) {
	if edge, err = l.edge(ctx, s); err != nil {
		return false, nil, err
	}
	var c condition
	l.bounds(&c)
	if l.rest != nil {
		l.rest(&c)
	}
	if edge != nil {
		beyond := l.key + " >= ?"
		if l.ascending {
			beyond = l.key + " <= ?"
		}
		c.add(beyond, edge)
	}
	tail := fmt.Sprintf("LIMIT %d", l.limit+1)
	query := l.branches(&c, l.key+" AS k, "+l.columns, tail)
	if len(l.values) > 1 {
		query = "SELECT * FROM (" + query + ") AS ways ORDER BY 1 " + l.order() + " " + tail
	}
	seen := 0
	err = s.rows(ctx, query, c.args, func(row scanner) error {
		if seen++; seen > l.limit {
			return nil
		}
		return each(keyless{row})
	})
	return seen > l.limit, edge, err
}

// keyless is a row without its key, which comes first.
type keyless struct{ row scanner }

// Scan gives the columns that were asked for.
func (k keyless) Scan(into ...any) error {
	var key any
	return k.row.Scan(append([]any{&key}, into...)...)
}
