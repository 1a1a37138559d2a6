# Uploads with Start-BitsTransfer. Not run on Windows. Run the lines that you need, not the whole file.

$file = @{
  TransferType = 'Upload'
  Source       = 'C:\data\q.xml'
  Destination  = 'https://files.example/upload/q.xml'
}

# In the foreground: returns when the upload is complete or has failed.
Start-BitsTransfer @file

# With a user name and a password: see examples/authentication.
Start-BitsTransfer @file -Authentication Basic -Credential (Get-Credential)

# With a header field in every packet. Other programs on this machine cannot read its value.
Start-BitsTransfer @file -CustomHeaders 'X-Token: 12345' -CustomHeadersWriteOnly

# In the background: after a temporary error it tries again every minute, for a day.
$job = Start-BitsTransfer @file -Asynchronous -Priority Normal -RetryInterval 60 -RetryTimeout 86400
(Get-BitsTransfer -JobId $job.JobId).JobState
Suspend-BitsTransfer -BitsJob $job
# Also after an error, when its cause is removed.
Resume-BitsTransfer -BitsJob $job -Asynchronous
# When the state is Transferred.
Complete-BitsTransfer -BitsJob $job
