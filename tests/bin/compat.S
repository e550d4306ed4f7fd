# `compat NUMBER`: a system call by the table of 32-bit programs, with zeros for arguments. Ends with its errno.
.globl _start
_start:
	mov 16(%rsp), %rsi
	xor %eax, %eax
digit:
	movzbl (%rsi), %ecx
	test %ecx, %ecx
	jz call
	imul $10, %eax, %eax
	lea -'0'(%rax, %rcx), %eax
	inc %rsi
	jmp digit
call:
	xor %ebx, %ebx
	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %ebp, %ebp
	int $0x80
	neg %eax
	mov %eax, %edi
	mov $231, %eax # exit_group
	syscall
.section .note.GNU-stack, "", @progbits
