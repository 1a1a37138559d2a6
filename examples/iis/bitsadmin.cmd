@rem An upload-reply job step by step. Not run on Windows. Run the lines one by one, not the whole file.
@rem If several jobs have the same name, write the GUID that /create prints instead of "example".

bitsadmin /create /upload-reply example
bitsadmin /addfile example https://files.example/upload/q.xml C:\data\q.xml
bitsadmin /setreplyfilename example C:\data\q.reply.xml

@rem SERVER is this word itself: credentials for the server, not for a proxy.
bitsadmin /setcredentials example SERVER BASIC alice "open sesame"
bitsadmin /setminretrydelay example 60
bitsadmin /setnotifyflags example 3
bitsadmin /setnotifycmdline example C:\data\done.cmd NULL
bitsadmin /resume example

@rem Repeat until it prints TRANSFERRED. After ERROR, /geterror prints the reason, and /resume tries again.
bitsadmin /getstate example

bitsadmin /getreplyprogress example
bitsadmin /getreplydata example
bitsadmin /getreplyfilename example

@rem The file of the reply cannot be opened before this command.
bitsadmin /complete example
