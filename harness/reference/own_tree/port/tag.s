# The tag of the exceptions by which setjmp and longjmp work (WebAssembly tool conventions, "Setjmp longjmp support").
	.globl	__c_longjmp
	.tagtype	__c_longjmp i32
__c_longjmp:
