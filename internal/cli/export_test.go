package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Root is the tree of commands, joined to nothing.
func Root() *cobra.Command {
	s := &shell{in: strings.NewReader(""), out: &noted{w: io.Discard}, err: io.Discard, now: time.Now}
	root := s.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}
