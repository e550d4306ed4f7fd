# A program that the kernel ends: a write to address 0.
.globl _start
_start:
	xor %edi, %edi
	mov %edi, (%rdi)
.section .note.GNU-stack, "", @progbits
