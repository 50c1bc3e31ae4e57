package acceptance_test

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"slices"
	"testing"
)

// smaller writes a picture of a page with the 256 colours that it has most of,
// which is a third of the size. The others, shades at the edge of letters,
// become the nearest of those.
func smaller(t *testing.T, picture []byte) []byte {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	must(t, err)
	full := image.NewRGBA(decoded.Bounds())
	draw.Draw(full, full.Bounds(), decoded, decoded.Bounds().Min, draw.Src)
	at := func(i int) color.RGBA { return color.RGBA{full.Pix[i], full.Pix[i+1], full.Pix[i+2], 255} }
	counts := map[color.RGBA]int{}
	for i := 0; i < len(full.Pix); i += 4 {
		counts[at(i)]++
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(brightness(a), brightness(b)))
	})
	p := image.NewPaletted(full.Bounds(), nil)
	for _, c := range colours[:min(256, len(colours))] {
		p.Palette = append(p.Palette, c)
	}
	index := map[color.RGBA]uint8{}
	for _, c := range colours {
		index[c] = uint8(p.Palette.Index(c))
	}
	for i := 0; i < len(full.Pix); i += 4 {
		p.Pix[i/4] = index[at(i)]
	}
	var b bytes.Buffer
	must(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, p))
	return b.Bytes()
}

func brightness(c color.RGBA) int { return int(c.R)<<16 | int(c.G)<<8 | int(c.B) }
