package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"testing"
)

// keeper is a connection that keeps the memory it was given to write.
type keeper struct{ given [][]byte }

func (k *keeper) Write(b []byte) (int, error) {
	k.given = append(k.given, b[:cap(b)])
	return 0, errors.New("gone")
}

// Passwords go through frames. What a buffer held is gone when it has left.
func TestBuffersAreWiped(t *testing.T) {
	word := []byte("correct horse battery staple")
	k := new(keeper)
	s := newSender(k)
	var queues [][]byte // every array that the queue grew out of
	for range 100 {
		if err := s.send(context.Background(), kindRequest, 1, 2, word); err != nil {
			t.Fatal(err)
		}
		queues = append(queues, s.queued[:cap(s.queued)])
	}
	if !bytes.Contains(queues[len(queues)-1], word) {
		t.Fatal("the queue does not hold the frames")
	}
	s.run() //nolint:errcheck // the keeper's
	for _, b := range append(queues, k.given...) {
		if bytes.Contains(b, word) {
			t.Fatal("a send buffer still holds a frame")
		}
	}

	// Half of it waits in the buffer, half is still to come.
	in := bytes.Repeat(word, 20)
	r := bufio.NewReaderSize(bytes.NewReader(in), 64)
	if _, err := r.Peek(64); err != nil {
		t.Fatal(err)
	}
	buffer, _ := r.Peek(r.Buffered())
	body, err := readBody(r, uint32(len(in)), len(in))
	if err != nil || !bytes.Equal(body, in) {
		t.Fatalf("%q, %v", body, err)
	}
	if len(bytes.Trim(buffer, "\x00")) != 0 {
		t.Errorf("the read buffer still holds %q", buffer)
	}
}
