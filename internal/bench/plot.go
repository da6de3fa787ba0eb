package bench

import (
	"fmt"
	"math"
	"strings"
)

// Plot draws, as SVG, what one participant of a ceremony spends as the number
// of participants grows, on two logarithmic axes: measured, and the limit.
func Plot(figures []Figure) string {
	const width, height, left, bottom, top = 640, 400, 70, 50, 20
	var points []Figure
	for _, f := range figures {
		if f.Name == "dkg_participant" && !f.Hybrid {
			points = append(points, f)
		}
	}
	if len(points) == 0 {
		return ""
	}
	low, high := math.Inf(1), 0.0
	for _, f := range points {
		low, high = min(low, f.Measured, f.Limit), max(high, f.Measured, f.Limit)
	}
	low, high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	first, last := math.Log2(float64(points[0].N)), math.Log2(float64(points[len(points)-1].N))
	x := func(n int) float64 {
		return left + (math.Log2(float64(n))-first)/max(last-first, 1)*(width-left-20)
	}
	y := func(ms float64) float64 {
		return height - bottom - (math.Log10(ms)-low)/max(high-low, 1)*(height-bottom-top)
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, width, height)
	say(`<rect width="%d" height="%d" fill="white"/>`, width, height)
	for p := low; p <= high; p++ {
		at := y(math.Pow(10, p))
		say(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g ms</text>`, left, at, width-20, left-8, at+4, math.Pow(10, p))
	}
	line := func(color, dash string, value func(Figure) float64) {
		var d strings.Builder
		for i, f := range points {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], x(f.N), y(value(f)))
			say(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x(f.N), y(value(f)), color)
		}
		say(`<path d="%s" fill="none" stroke="%s" stroke-width="2"%s/>`, d.String(), color, dash)
	}
	line("#1f6fb2", "", func(f Figure) float64 { return f.Measured })
	line("#999", ` stroke-dasharray="5 4"`, func(f Figure) float64 { return f.Limit })
	for _, f := range points {
		say(`<text x="%.1f" y="%d" text-anchor="middle">%d</text>`, x(f.N), height-bottom+20, f.N)
	}
	say(`<text x="%d" y="%d" text-anchor="middle">participants</text>`, (left+width)/2, height-12)
	say(`<text x="%d" y="%d" fill="#1f6fb2">CPU per participant</text><text x="%d" y="%d" fill="#777">group operations alone</text>`, left+20, top+20, left+20, top+38)
	say(`</svg>`)
	return b.String()
}
