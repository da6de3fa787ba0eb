// Package e2e drives the real binaries with scripts.
//
// Owns: testdata/script/*.txtar, each a story of one cluster, and the commands
// they use beside those of testscript:
//
//	await FILE                        waits until FILE is there
//	load FILE                         reads a dev.json: $CLUSTER, $VALIDATOR_0, $NODE_0_SIGNER, $NODE_0_OPS,
//	                                  $NODE_0_METRICS, $NODE_0_PID, $NODE_0_CUSTODY, $NODE_0_HOME, $TOKEN_FILE,
//	                                  $KEY_ADMIN and whoever else there is
//	exits CODE ARGS...                runs quorate and asserts what it exits with
//	until PATTERN ARGS...             runs quorate until its output matches
//	keep VARIABLE PATTERN             puts what PATTERN captures in stdout into VARIABLE
//	prompt OPS REQUEST                asserts that a request was executed as soon as its lock had ended
//	http STATUS METHOD URL [FILE]     asks, with FILE as body; stdout is the answer; $BEARER names a token's file;
//	                                  STATUS~ and STATUS~PATTERN ask again until the answer is that
//	signal NAME PID                   sends KILL, TERM or INT
//	gone PID...                       waits until processes have ended
//	forget DIR                        removes the slashing record of a custody process
//	lie NAME HOW URL                  puts a node that lies to participants before an honest one
//	deal INVITATION CEREMONY OPS LIE  deals in a hand-over with a program that is not ours, which lies
//	readme FILE                       writes the README's request to FILE
//	verify NETWORK PUBKEY FILE        checks that stdout is a signature of the request in FILE
//
// $BASE is the first of many free ports. exits, until, http and browse first
// wait until all nodes that answer have the same ledger.
//
// TestNoDoubleSign tells the stories that take more than a script: races,
// kills, restored disks and clones on one-second slots, with two slashers that
// judge every signature and every holder's partials; under kills everything
// that clients were told is held against the holders' logs and the ledger.
// TestPartitions cuts nodes off that live in network namespaces;
// TestApprovalsUnderPartition has people decide on requests meanwhile, and
// judges the order of what they did. TestCeremonies kills nodes while keys are
// made, TestRenewals and TestHandOver while they get new shares and new
// holders; the leak test looks for planted secrets. TestSlowDisk,
// TestLinearizable and TestHandOverApart run at night only (QUORATE_NIGHTLY=1).
//
// Never: a sleep, a fixed port, or a part that is not the real one.
//
// All of it runs under ./check (QUORATE_CHECK=1); `go test ./e2e` alone skips.
// As many tests run beside each other as there are cores, each with a cluster
// of its own: most of their time is other people's deadlines.
//
// Start reading at TestScripts and testdata/script/dev.txtar.
package e2e
