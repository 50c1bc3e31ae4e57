package app

import (
	"context"
	"net"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mailgrant/mailgrant/internal/api"
)

// withPeer marks a connection of the socket with the uid at its other end, as
// the kernel knows it (SO_PEERCRED). A connection whose uid cannot be told is
// not marked, and so has to bring an API key.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return ctx
	}
	return api.WithPeer(ctx, int(cred.Uid))
}

func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
