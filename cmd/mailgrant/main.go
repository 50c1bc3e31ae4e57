// Command mailgrant connects applications to OAuth mailboxes; see package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/mailgrant/mailgrant/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
