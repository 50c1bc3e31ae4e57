package acceptance_test

import (
	"os"
	"syscall"
	"testing"
)

// realMount makes a folder a small file system of its own, which can be filled
// without harm to others. That takes root.
func realMount(t testing.TB, folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system takes root")
	}
	must(t, os.Mkdir(folder, 0o700))
	if err := syscall.Mount("mailgrant-test", folder, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Errorf("unmount the server's folder: %v", err)
		}
	})
}
