// An upload-reply job in C++. Not run on Windows. Link with ole32.
#include <windows.h>
#include <bits.h>
#include <cstdio>

static void check(HRESULT hr, const char* step)
{
    if (SUCCEEDED(hr)) return;
    std::fprintf(stderr, "%s: 0x%08lX\n", step, static_cast<unsigned long>(hr));
    ExitProcess(1);
}

int main()
{
    check(CoInitializeEx(NULL, COINIT_MULTITHREADED), "CoInitializeEx");
    IBackgroundCopyManager* manager = NULL;
    check(CoCreateInstance(__uuidof(BackgroundCopyManager), NULL, CLSCTX_LOCAL_SERVER,
                           __uuidof(IBackgroundCopyManager), (void**)&manager), "CoCreateInstance");

    GUID id;
    IBackgroundCopyJob* job = NULL;
    IBackgroundCopyJob2* job2 = NULL;
    check(manager->CreateJob(L"example", BG_JOB_TYPE_UPLOAD_REPLY, &id, &job), "CreateJob");
    check(job->AddFile(L"https://files.example/upload/q.xml", L"C:\\data\\q.xml"), "AddFile");
    check(job->QueryInterface(__uuidof(IBackgroundCopyJob2), (void**)&job2), "QueryInterface");
    // Without this call BITS chooses a name beside the upload.
    check(job2->SetReplyFileName(L"C:\\data\\q.reply.xml"), "SetReplyFileName");
    check(job->Resume(), "Resume");

    BG_JOB_STATE state;
    do
    {
        Sleep(1000);
        check(job->GetState(&state), "GetState");
    } while (state != BG_JOB_STATE_TRANSFERRED && state != BG_JOB_STATE_ERROR);
    if (state == BG_JOB_STATE_ERROR) check(E_FAIL, "The job has failed: bitsadmin /info example /verbose");

    BYTE* reply = NULL;
    UINT64 length = 0;
    // BG_E_TOO_LARGE above 1 MB. Then read the file after Complete().
    HRESULT hr = job2->GetReplyData(&reply, &length);
    if (hr != static_cast<HRESULT>(BG_E_TOO_LARGE)) check(hr, "GetReplyData");
    check(job->Complete(), "Complete"); // from now on the file of the reply can be read

    CoTaskMemFree(reply);
    job2->Release();
    job->Release();
    manager->Release();
    CoUninitialize();
}
