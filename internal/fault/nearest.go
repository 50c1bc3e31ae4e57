package fault

import "strings"

// Nearest gives the word that was probably meant: the one at most two slips of
// the pen away, compared without case, one where the word is short. A
// dotted word is also known by its last part. Empty when nothing is near.
func Nearest(word string, among []string) string {
	word = strings.ToLower(word)
	best, bestDistance := "", 3
	if len(word) < 5 {
		bestDistance = 2
	}
	for _, w := range among {
		if len(w) > 2*len(word)+8 {
			continue
		}
		if d := edits(word, strings.ToLower(w)); d < bestDistance {
			best, bestDistance = w, d
		}
		if _, last, ok := strings.Cut(w, "."); ok && last == word && bestDistance > 1 {
			best, bestDistance = w, 1
		}
	}
	return best
}

// edits is the distance of two words in letters left out, added or put in
// another's place; two that changed places count as one (Damerau).
func edits(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := row[j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			next[j] = min(cost, next[j-1]+1, row[j]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
