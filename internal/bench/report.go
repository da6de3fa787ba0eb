package bench

import (
	"bufio"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Report is what a benchmark found.
type Report struct {
	Machine Machine  `json:"machine"`
	Figures []Figure `json:"figures"`
}

// Machine is where. Load averages tell who else used its cores.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Go         string `json:"go"`
	LoadBefore string `json:"load_before,omitempty"`
	LoadAfter  string `json:"load_after,omitempty"`
}

// Figure is one number beside its limit. Fields that a figure does not have
// are absent.
type Figure struct {
	Name        string  `json:"name"`
	N           int     `json:"n"`
	T           int     `json:"t"`
	Keys        int     `json:"keys,omitempty"`
	Dealers     int     `json:"dealers,omitempty"`
	Hybrid      bool    `json:"hybrid,omitempty"`
	Concurrency int     `json:"concurrency,omitempty"`
	Unit        string  `json:"unit"`
	Measured    float64 `json:"measured"`
	Limit       float64 `json:"limit"`
	Ratio       float64 `json:"ratio"` // at best 1: measured/limit for rates, limit/measured for times
	LimitIs     string  `json:"limit_is"`
	Runs        int     `json:"runs,omitempty"`      // of which Measured is the median
	Least       float64 `json:"least,omitempty"`     // of them
	Budget      float64 `json:"budget,omitempty"`    // what Least was to be by the design
	OfBudget    float64 `json:"of_budget,omitempty"` // Least/Budget
	Bytes       int     `json:"bytes,omitempty"`     // of what is verified

	P50      float64 `json:"p50_ms,omitempty"`
	P99      float64 `json:"p99_ms,omitempty"`
	Failures int     `json:"failures,omitempty"` // answers other than 200

	// Processor time, user and system, by the kernel's account. The load
	// generator shares the cores and is counted apart.
	CPU          float64 `json:"cpu_ms_per_signature,omitempty"` // over all processes of the cluster
	GeneratorCPU float64 `json:"generator_cpu_ms_per_signature,omitempty"`
	LimitCPU     float64 `json:"limit_cpu_ms_per_signature,omitempty"`
	CPURatio     float64 `json:"cpu_ratio,omitempty"` // limit's/cluster's; on a busy machine more telling than the rates
	OperatorCPU  float64 `json:"cpu_s_per_operator,omitempty"`

	RSS float64 `json:"rss_mib_per_node,omitempty"` // the largest node's, with its custody process
}

// rate and duration complete a figure.
func (f Figure) rate(measured, limit float64) Figure {
	f.Measured, f.Limit, f.Ratio = measured, limit, over(measured, limit)
	return f
}

func (f Figure) duration(measured, limit float64) Figure {
	f.Measured, f.Limit, f.Ratio = measured, limit, over(limit, measured)
	return f
}

// runs completes a figure that was measured several times.
func (f Figure) runs(all []float64, limit float64) Figure {
	f.Runs, f.Least = len(all), slices.Min(all)
	return f.duration(median(all), limit)
}

func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// ThisMachine describes the machine as it is now.
func ThisMachine() Machine {
	return Machine{CPU: cpuModel(), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), LoadBefore: loadAverage()}
}

// Done notes the load at the end.
func (m *Machine) Done() { m.LoadAfter = loadAverage() }

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// loadAverage is that of the last minute, "" where the system keeps none.
func loadAverage() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// percentile sorts its argument.
func percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(p*float64(len(v))))]
}

func median(v []float64) float64 { return percentile(v, 0.5) }

func mean(a, b float64) float64 { return (a + b) / 2 }
