// An upload-reply job in C#. Not run on Windows. It needs the reference library of bits1_5.idl that Microsoft's
// page "Calling into BITS from .NET and C#" creates.
using System;
using System.Threading;
using BITS = BITSReference1_5;

static class UploadReply
{
    static void Main()
    {
        var manager = new BITS.BackgroundCopyManager1_5();
        manager.CreateJob("example", BITS.BG_JOB_TYPE.BG_JOB_TYPE_UPLOAD_REPLY, out BITS.GUID id, out BITS.IBackgroundCopyJob job);
        job.AddFile("https://files.example/upload/q.xml", @"C:\data\q.xml");
        ((BITS.IBackgroundCopyJob2)job).SetReplyFileName(@"C:\data\q.reply.xml");
        job.Resume();

        BITS.BG_JOB_STATE state;
        do
        {
            Thread.Sleep(1000);
            job.GetState(out state);
        } while (state != BITS.BG_JOB_STATE.BG_JOB_STATE_TRANSFERRED && state != BITS.BG_JOB_STATE.BG_JOB_STATE_ERROR);

        if (state == BITS.BG_JOB_STATE.BG_JOB_STATE_ERROR)
        {
            Console.Error.WriteLine("The job has failed: bitsadmin /info example /verbose");
            return;
        }
        job.Complete(); // from now on the file of the reply can be read
    }
}
