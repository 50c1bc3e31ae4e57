package cli

import (
	"strings"

	"rsc.io/qr"
)

// quiet is the white margin that readers of QR codes need (ISO/IEC 18004 asks
// for four modules; on a terminal two have proved enough).
const quiet = 2

// drawQR draws a QR code with half blocks, two rows of modules in each line:
// light modules in white on a black ground, whatever the terminal's colours
// are. Empty when the text is too long for one.
func drawQR(text string) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return ""
	}
	dark := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return x >= 0 && y >= 0 && x < code.Size && y < code.Size && code.Black(x, y)
	}
	side := code.Size + 2*quiet
	var b strings.Builder
	for y := 0; y < side; y += 2 {
		b.WriteString("\x1b[97;40m")
		for x := range side {
			upper, lower := dark(x, y), dark(x, y+1) || y+1 >= side
			switch {
			case upper && lower:
				b.WriteRune(' ')
			case upper:
				b.WriteRune('▄')
			case lower:
				b.WriteRune('▀')
			default:
				b.WriteRune('█')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
