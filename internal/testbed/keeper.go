package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// keeperScript starts a server, passes on its exit code, and ends it when file descriptor 3 is closed: by us, who say a word
// before, or by the kernel when the test binary is gone. Then nobody is left to remove the server's folder, and the keeper does.
// Its first argument is the signal that ends the server in order, the second that folder, the rest the server's command line.
const keeperScript = `
signal=$1; folder=$2; shift 2
"$@" 3<&- </dev/null &
child=$!
(
  word=$(cat <&3)
  [ -n "$word" ] || touch "$folder/.abandoned"
  kill -"$signal" "$child"; sleep 15; kill -KILL "$child"
) 2>/dev/null &
watch=$!
wait "$child"; code=$?
kill "$watch" 2>/dev/null
[ ! -e "$folder/.abandoned" ] || rm -rf "$folder"
exit "$code"
`

// startLimit is how long a server may take to answer for the first time; generous, because a loaded machine is slow.
const startLimit = 90 * time.Second

// command describes a server to run.
type command struct {
	name   string   // for messages
	args   []string // program and arguments
	dir    string   // the server's own folder; its log is written there
	env    []string // added to the environment
	runAs  *identity
	signal string // ends the server in order: "TERM", "INT"
}

// kept is a running server and its keeper.
type kept struct {
	name string
	log  string
	rope *os.File // the keeper's file descriptor 3 is its other end
	cmd  *exec.Cmd
	done chan struct{} // closed when the keeper has exited
	err  error         // how it exited; read after done
}

// start runs a server under its keeper. It does not wait for the server to answer.
func start(c command) (*kept, error) {
	k := &kept{name: c.name, log: filepath.Join(c.dir, c.name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(k.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.name, err)
	}
	defer closeQuietly(log)
	hold, rope, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the keeper's pipe: %w", err)
	}
	defer closeQuietly(hold)

	k.rope = rope
	k.cmd = exec.Command("/bin/sh", append([]string{"-c", keeperScript, "keeper", c.signal, c.dir}, c.args...)...)
	k.cmd.Dir = c.dir
	k.cmd.Env = append(os.Environ(), c.env...)
	k.cmd.Stdout, k.cmd.Stderr = log, log
	k.cmd.ExtraFiles = []*os.File{hold}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.runAs.credential()}
	if err := k.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), rope.Close())
	}
	go func() {
		k.err = k.cmd.Wait()
		closeQuietly(rope)
		close(k.done)
	}()
	return k, nil
}

// stop ends the server in order and waits until it is gone.
func (k *kept) stop() {
	// A server that has exited by itself has no keeper to read the word, and needs none.
	_, _ = k.rope.WriteString("stop")
	closeQuietly(k.rope)
	<-k.done
}

// await polls ready until it returns nil, the server exits, or the time limit passes.
func (k *kept) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		attempt, end := context.WithTimeout(ctx, 5*time.Second)
		err := ready(attempt)
		end()
		if err == nil {
			return nil
		}
		select {
		case <-k.done:
			return fmt.Errorf("%s exited at its start (%w); its log ends:\n%s", k.name, exitOf(k.err), tail(k.log, 40))
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer within %s (%w); its log ends:\n%s", k.name, startLimit, err, tail(k.log, 40))
		case <-tick.C:
		}
	}
}

// exitOf makes an error also of an exit with code 0: a server that ends at its start has failed.
func exitOf(err error) error {
	if err == nil {
		return errors.New("exit code 0")
	}
	return err
}

// showLogOnFailure prints the end of a server's log when the test failed. Called before the folder is removed.
func showLogOnFailure(t testing.TB, name, path string) {
	if t.Failed() {
		t.Logf("end of the log of %s:\n%s", name, tail(path, 60))
	}
}

// listens reports whether something accepts connections on the port of 127.0.0.1.
func listens(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// closeQuietly closes what was only read, or is being thrown away, where a failed close loses nothing.
func closeQuietly(c io.Closer) {
	_ = c.Close() //nolint:errcheck // see above
}
