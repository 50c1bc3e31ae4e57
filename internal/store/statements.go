package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"modernc.org/sqlite"
)

// mostPrepared bounds the statements that one connection remembers.
const mostPrepared = 128

// remembering makes SQLite connections that remember their statements: SQLite
// takes longer to understand most of ours, and of River's, than to run them.
// PostgreSQL's driver does so by itself.
type remembering struct{ driver.Connector }

func newRemembering(url string) (driver.Connector, error) {
	c, err := sqlite.NewConnector(url)
	return remembering{c}, err
}

// Connect implements driver.Connector.
func (r remembering) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(liteConn)
	if !ok {
		return nil, fmt.Errorf("the SQLite driver's connections have changed: %T", c)
	}
	return &rememberingConn{liteConn: conn, idle: map[string]liteStmt{}}, nil
}

// liteConn and liteStmt are what the driver's connections and statements can do.
type (
	liteConn interface {
		driver.Conn
		driver.ConnBeginTx
		driver.ConnPrepareContext
		driver.Pinger
		driver.SessionResetter
		driver.Validator
	}
	liteStmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
)

// rememberingConn is used by one goroutine at a time, as database/sql has it.
type rememberingConn struct {
	liteConn
	idle map[string]liteStmt // by text; those in use are elsewhere
}

func (c *rememberingConn) take(ctx context.Context, query string) (liteStmt, error) {
	if s, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.(liteStmt), nil
}

// keep puts a statement back. Where there is no room any other makes some.
func (c *rememberingConn) keep(query string, s liteStmt) error {
	if _, another := c.idle[query]; another {
		return s.Close()
	}
	c.idle[query] = s
	if len(c.idle) <= mostPrepared {
		return nil
	}
	for other, s := range c.idle {
		if other != query {
			delete(c.idle, other)
			return s.Close()
		}
	}
	return nil
}

// ExecContext implements driver.ExecerContext.
func (c *rememberingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	if err != nil {
		_ = s.Close() // repeats the error
		return nil, err
	}
	return result, c.keep(query, s)
}

// QueryContext implements driver.QueryerContext.
func (c *rememberingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		_ = s.Close() // repeats the error
		return nil, err
	}
	return &rememberingRows{Rows: rows, conn: c, query: query, stmt: s}, nil
}

// Close implements driver.Conn.
func (c *rememberingConn) Close() error {
	for _, s := range c.idle {
		_ = s.Close() // the connection ends with them
	}
	c.idle = nil
	return c.liteConn.Close()
}

// rememberingRows give their statement back at their end.
type rememberingRows struct {
	driver.Rows
	conn  *rememberingConn
	query string
	stmt  liteStmt
}

// Close implements driver.Rows.
func (r *rememberingRows) Close() error {
	if r.stmt == nil {
		return nil
	}
	s := r.stmt
	r.stmt = nil
	if err := r.Rows.Close(); err != nil {
		_ = s.Close() // repeats the error
		return err
	}
	if r.conn.idle == nil {
		return s.Close()
	}
	return r.conn.keep(r.query, s)
}
