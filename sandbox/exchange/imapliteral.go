package exchange

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
)

// literalEnd matches the announcement of a literal at the end of a line.
var literalEnd = regexp.MustCompile(`\{([0-9]{1,10})(\+?)\}\r?\n$`)

// expectLiteral notes whether the line ends in a literal.
func (d *imapDialect) expectLiteral(line []byte) {
	d.midway = false
	m := literalEnd.FindSubmatch(line)
	if m == nil {
		return
	}
	d.midway, d.literal, d.waits = true, literalSize(line), len(m[2]) == 0
}

// literalSize is the length of the literal that the line announces; 0 if none.
func literalSize(line []byte) int64 {
	m := literalEnd.FindSubmatch(line)
	if m == nil {
		return 0
	}
	size, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return size
}

// abandonLiteral drops a literal whose command the library has refused
// already: one that waits for leave is never sent, any other is read past.
func (d *imapDialect) abandonLiteral() error {
	d.out.Lock()
	open := d.current.open
	d.out.Unlock()
	if !d.midway || open {
		return nil
	}
	size, waits := d.literal, d.waits
	d.literal, d.midway = 0, false
	if waits || size == 0 {
		return nil
	}
	return d.skipLiterals(fmt.Appendf(nil, "{%d+}\r\n", size))
}

// skipLiterals reads past what the client sends without waiting after line.
func (d *imapDialect) skipLiterals(line []byte) error {
	budget := int64(maxDiscard)
	for {
		m := literalEnd.FindSubmatch(line)
		if m == nil || len(m[2]) == 0 {
			return nil
		}
		size := literalSize(line)
		if size > budget {
			return io.EOF
		}
		budget -= size
		if _, err := io.CopyN(io.Discard, d.in, size); err != nil {
			return err
		}
		var err error
		if line, err = d.line(); err != nil {
			return err
		}
	}
}
