"""What stands between a student's kernel and the machine; everything in this folder runs before the student's code.

A fork server or a fresh process (`supervise`) makes one process for each kernel, which gives up all that it does not
need (`start`) and then becomes the kernel (`kernel`).
"""
