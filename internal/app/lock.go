package app

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// lockFolder takes the data folder for this process alone, before anything in it
// is opened. The kernel gives the lock back when the process ends, however it
// ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	err = errors.Join(err, f.Close())
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &fault.Error{
			ID: "app.running", Kind: fault.Conflict, Field: "data_dir", Text: fmt.Sprintf("Another Mailgrant is running on the data folder %s.", dir),
			Who: []fault.Who{fault.Operator}, Remedy: "Stop it first, or choose another folder with data_dir (or MAILGRANT_DATA_DIR).", Err: err,
		}
	}
	return nil, fmt.Errorf("lock the data folder: %w", err)
}

// openSocket listens at path for people on this host. Whatever stood there was
// left by a run that has ended: the folder is locked. Between bind and chmod the
// folder, which nobody else may enter, keeps others out.
func openSocket(path string) (net.Listener, error) {
	if err := removeFile(path); err != nil {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, &fault.Error{
			ID: "app.socket", Kind: fault.Invalid, Field: "data_dir", Text: fmt.Sprintf("The socket %s cannot be made.", path),
			Who: []fault.Who{fault.Operator}, Remedy: "A socket's path may have about 100 characters; choose a shorter data_dir.", Err: err,
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("keep the socket to the service's user: %w", err), l.Close())
	}
	return l, nil
}
