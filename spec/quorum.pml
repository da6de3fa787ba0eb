/*
 * One signature per duty: the quorum argument, for Spin.
 *
 * N holders, of whom any T make a signature. B of them are Byzantine and have
 * signed everything. The others are asked for two messages, 1 and 2, which a
 * chain slashes together: they decide in memory, write their record down, and
 * release what is on disk. They crash at any moment and come back with what
 * the disk has. R times in all a disk is rolled back, or a machine cloned
 * together with its disk, after which both run.
 *
 * Claim: not both messages get T partials if 2T - N > B + R. With
 * RELEASE_FIRST the record is written after the release, and the claim fails.
 * spin_test.go runs both sides. The same argument over the product's own rule,
 * with surround votes, is internal/slashing/model_test.go.
 */

#ifndef N
#define N 4
#endif
#ifndef T
#define T 3
#endif
#ifndef B
#define B 1
#endif
#ifndef R
#define R 0
#endif

/* A machine is a holder, or at N + h the clone of holder h. */
#define MACHINES (2 * N)

bit up[MACHINES];
byte mem[MACHINES];  /* the message decided for, 0 before */
byte disk[MACHINES];
bit first[N], second[N]; /* what a holder has released of messages 1 and 2 */
byte budget = R;

inline release(m, holder) {
	if
	:: m == 1 -> first[holder] = 1
	:: m == 2 -> second[holder] = 1
	fi
}

inline count() {
	h = 0; a = 0; b = 0;
	do
	:: h < N -> a = a + first[h]; b = b + second[h]; h++
	:: else -> break
	od;
	assert(!(a >= T && b >= T));
	h = 0; a = 0; b = 0
}

active proctype world() {
	byte i, h, a, b;
	d_step {
		do
		:: i < N ->
			if
			:: i < B -> first[i] = 1; second[i] = 1
			:: else -> up[i] = 1
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
	do
	:: atomic {
		select(i : B .. MACHINES - 1);
		if
		:: up[i] && mem[i] == 0 -> /* asked for a message */
			if
			:: mem[i] = 1
			:: mem[i] = 2
			fi
#ifdef RELEASE_FIRST
			; release(mem[i], i % N); count()
#endif
		:: up[i] && mem[i] != 0 -> /* fsync; what was asked again, too */
			disk[i] = mem[i];
			release(mem[i], i % N);
			count()
		:: up[i] -> up[i] = 0; mem[i] = 0 /* crash */
		:: !up[i] && i < N -> up[i] = 1; mem[i] = disk[i] /* restart */
		:: !up[i] && i < N && budget > 0 -> disk[i] = 0; budget--
		:: i < N && !up[N + i] && budget > 0 ->
			budget--; up[N + i] = 1; disk[N + i] = disk[i]; mem[N + i] = disk[i]
		:: else
		fi;
		i = 0
	}
	od
}
