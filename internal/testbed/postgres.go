package testbed

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver of database/sql, to create and drop databases
)

const (
	postgresPackages = "postgresql"
	postgresRole     = "mailgrant"
)

// Postgres is a running PostgreSQL server of the newest installed version, with fsync on.
type Postgres struct {
	bin   string // folder of the server's programs
	dir   string // holds data, socket and log
	port  int
	runAs *identity

	server    *kept
	databases int
	mu        sync.Mutex // guards server and databases
}

// shared is the server that the tests of one binary have in common: starting one takes seconds, a database of it none. It is
// ended, and its folder removed, by its keeper when the binary is gone. It is the one thing in this package that outlives a test.
var shared struct {
	sync.Mutex
	postgres *Postgres
}

// StartPostgres returns the PostgreSQL server that all tests of this binary share, started by whoever asks first. Tests that
// stop or pause their server take [StartOwnPostgres].
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.postgres == nil {
		p := newPostgres(t)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		shared.postgres = p
	}
	p := shared.postgres
	t.Cleanup(func() { showLogOnFailure(t, "postgres", p.logPath()) })
	return p
}

// StartOwnPostgres starts a PostgreSQL server for this test alone, which may stop, start, pause and resume it.
func StartOwnPostgres(t testing.TB) *Postgres {
	t.Helper()
	p := newPostgres(t)
	t.Cleanup(func() {
		p.Resume(t)
		p.Stop()
		showLogOnFailure(t, "postgres", p.logPath())
		if err := os.RemoveAll(p.dir); err != nil {
			t.Errorf("remove the folder of PostgreSQL: %v", err)
		}
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// newPostgres initialises a data folder.
func newPostgres(t testing.TB) *Postgres {
	t.Helper()
	initdb := program(t, "initdb", postgresPackages, "/usr/lib/postgresql/*/bin/initdb")
	if resolved, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = resolved
	}
	// PostgreSQL refuses to run as root.
	p := &Postgres{bin: filepath.Dir(initdb), runAs: systemUser(t, "postgres")}
	p.dir = folder(t, "pg", p.runAs)
	p.port = FreePort(t)

	cmd := exec.Command(initdb, "--pgdata", filepath.Join(p.dir, "data"), "--username", postgresRole, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.runAs.credential()}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	return p
}

func (p *Postgres) logPath() string { return filepath.Join(p.dir, "postgres.log") }

// URL is the connection URL of a database on this server.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(postgresRole), Host: "127.0.0.1:" + strconv.Itoa(p.port), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// NewDatabase creates an empty database for this test and returns its URL. It is dropped when the test ends.
func (p *Postgres) NewDatabase(t testing.TB) string {
	t.Helper()
	p.mu.Lock()
	p.databases++
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), p.databases)
	p.mu.Unlock()
	if err := p.administer(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.running() {
			return // stopped by the test; the folder goes with it
		}
		// The test's own context has ended by now.
		if err := p.administer(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return p.URL(name)
}

func (p *Postgres) administer(ctx context.Context, statement string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	db, err := sql.Open("pgx", p.URL("postgres"))
	if err != nil {
		return fmt.Errorf("open the server's own database: %w", err)
	}
	defer closeQuietly(db)
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Start starts the server on its data and its port, and waits until it answers. A running server stays as it is.
func (p *Postgres) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return nil
	}
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "port": strconv.Itoa(p.port), "unix_socket_directories": p.dir,
		"fsync": "on", "max_connections": "200", "shared_buffers": "32MB", "log_min_messages": "warning",
		"log_line_prefix": "%m [%p] %d ",
	}
	args := []string{filepath.Join(p.bin, "postgres"), "-D", filepath.Join(p.dir, "data")}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	server, err := start(command{name: "postgres", args: args, dir: p.dir, runAs: p.runAs, signal: "INT"})
	if err != nil {
		return err
	}
	err = server.await(func(ctx context.Context) error { return p.administer(ctx, "SELECT 1") })
	if err != nil {
		server.stop()
		return err
	}
	p.server = server
	return nil
}

// Stop ends the server at once, breaking every connection; what was committed stays. A stopped server stays as it is.
func (p *Postgres) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		p.server.stop()
		p.server = nil
	}
}

func (p *Postgres) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server != nil
}

// Pause freezes the server with all its connections: statements hang, as on a lost network.
func (p *Postgres) Pause(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
}

// Resume lets a paused server go on where it stood.
func (p *Postgres) Resume(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGCONT)
}

// signal reaches the postmaster and then each of its backends, which are process groups of their own.
func (p *Postgres) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return
	}
	content, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatalf("find PostgreSQL's process: %v", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	postmaster, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatalf("PostgreSQL's process number: %v", err)
	}
	for _, pid := range append([]int{postmaster}, children(postmaster)...) {
		// A backend may have ended since it was listed.
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			t.Fatalf("send %v to PostgreSQL: %v", signal, err)
		}
	}
}

// children lists the processes whose parent is pid.
func children(pid int) []int {
	var found []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // gone since it was listed
		}
		// "PID (name) state PPID …"; the name may hold anything, a closing parenthesis too.
		_, rest, _ := strings.Cut(string(content[strings.LastIndexByte(string(content), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}
