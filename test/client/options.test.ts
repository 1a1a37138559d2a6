import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { cancelUpload, uploadFile } from '../../lib/client/index.ts'
import { readCancelOptions, readUploadOptions, readUploadUrl } from '../../lib/client/options.ts'

describe('option and URL checks', () => {
  it.each<[object, string | RegExp]>([
    [{ retrydelay: 1 }, "there is no option 'retrydelay'; did you mean 'retryDelay'?"],
    [
      { 'some other': 1 },
      /there is no option 'some other'; the options are auth, headers, tls, .*onProgress$/,
    ],
    [
      { retryDelay: 0 },
      /'retryDelay' takes a number of milliseconds from 1 to 2147483647 \(24.8 days\), not 0/,
    ],
    [{ maxRetryDelay: '1s' }, /'maxRetryDelay' takes a number of milliseconds.*not '1s'/],
    [{ noProgressTimeout: 2 ** 31 }, /'noProgressTimeout' takes/],
    [{ sendTimeout: Number.NaN }, /'sendTimeout' takes/],
    [{ responseTimeout: -1 }, /'responseTimeout' takes/],
    [{ maxFragmentSize: '5 apples' }, /'maxFragmentSize' takes a number of bytes.*'8mb', not '5 apples'/],
    [{ maxReplySize: 0 }, /'maxReplySize' takes/],
    [{ signal: 'SIGTERM' }, /'signal' takes an AbortSignal, not 'SIGTERM'/],
    [{ onProgress: true }, /'onProgress' takes a function/],
    [{ job: '' }, /'job' takes a path, not ''/],
    [{ reply: true }, /'reply' takes a path, a writable stream or false, not true/],
    [{ tls: 'ca' }, /'tls' takes options of tls.connect/],
    [{ auth: 'me:secret' }, /^uploadFile: option 'auth' takes { user, password }$/],
    [{ auth: { user: 'me' } }, /'auth' takes { user, password }, both strings/],
    [
      { auth: { user: 'me', pasword: 'secret' } },
      /there is no auth option 'pasword'; did you mean 'password'?/,
    ],
    [{ auth: { user: 'm:e', password: '' } }, /a user without colon/],
    [{ auth: { user: 'me', password: 'a\nb' } }, /control characters/],
    [
      { auth: { user: 'me', password: '' }, headers: { authorization: 'x' } },
      /no value if 'headers' contain Authorization/,
    ],
    [{ headers: [['a', 'b']] }, /'headers' takes an object of strings/],
    [{ headers: { a: 1 } }, /'headers.a' takes a string, not 1/],
    [{ headers: { 'a b': '1' } }, /a field that HTTP cannot send: a b/],
    [{ headers: { a: 'b\r\nc: d' } }, /a field that HTTP cannot send: a/],
    [{ headers: { 'BITS-Session-Id': '1' } }, /the header field BITS-Session-Id is reserved for the client/],
    [{ headers: { 'content-length': '1' } }, /is reserved for the client/],
    [{ headers: { Host: 'a' } }, /is reserved for the client/],
    [{ headers: { 'Transfer-Encoding': 'chunked' } }, /is reserved for the client/],
  ])('reject %j with a TypeError that states the mistake', async (options, message) => {
    const error = await uploadFile(Buffer.alloc(1), 'http://127.0.0.1:9/', options).catch((reason) => reason)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(message)
  })

  it('keep passwords out of the error messages', () => {
    for (const auth of [
      'me:secret',
      { user: 'me', password: 5, secret: 1 },
      { user: ':', password: 'secret' },
    ]) {
      expect(() => readUploadOptions({ auth } as never)).toThrow(expect.not.stringMatching(/secret$|:secret/))
    }
  })

  it.each([
    ['upload/a.bin', /the URL is one such as 'https:\/\/host\/upload\/file.txt', not 'upload\/a.bin'/],
    ['ftp://host/a', /the URL is one such as/],
    ['http://me:secret@host/a', /must not contain credentials; pass them as `auth`/],
    ['http://host/a#1.txt', /has a '#'; write it as %23/],
    ['http://host/a.txt#', /has a '#'/],
  ])('reject the URL %s with a TypeError', (url, message) => {
    expect(() => readUploadUrl(url)).toThrow(message)
    expect(() => readUploadUrl(url)).toThrow(TypeError)
  })

  it('reject an empty job path, options unknown to cancelUpload, and null options', async () => {
    await expect(cancelUpload('')).rejects.toThrow('cancelUpload: pass the path of a job file')
    await expect(cancelUpload('a.job', { maxReplySize: 1 } as never)).rejects.toThrow(
      /cancelUpload: there is no option 'maxReplySize'; the options are .*, signal$/,
    )
    await expect(uploadFile('a', 'http://host/', null as never)).rejects.toThrow('the options are an object')
  })
})

describe('option defaults', () => {
  it('are used by uploadFile and cancelUpload without options', () => {
    const day = 24 * 3_600_000
    const common = {
      auth: undefined,
      headers: [],
      tls: {},
      signal: undefined,
      sendTimeout: 120_000,
      responseTimeout: 300_000,
      retryDelay: 1000,
      maxRetryDelay: 60_000,
    }
    expect(readUploadOptions({})).toEqual({
      ...common,
      noProgressTimeout: 14 * day,
      job: undefined,
      reply: undefined,
      maxReplySize: 1024 ** 2,
      maxFragmentSize: 13 * 1024 ** 2,
      onProgress: undefined,
    })
    expect(readCancelOptions({})).toEqual({ ...common, noProgressTimeout: day })
  })

  it('set maxReplySize to 10 GB if reply is a path, URL or stream', () => {
    for (const reply of ['a', new URL('file:///a'), new Writable()]) {
      expect(readUploadOptions({ reply }).maxReplySize).toBe(10 * 1024 ** 3)
    }
    expect(readUploadOptions({ reply: 'a', maxReplySize: 5 }).maxReplySize).toBe(5)
  })

  it('raise maxRetryDelay to a retryDelay that is larger', () => {
    expect(readUploadOptions({ retryDelay: 100_000 }).maxRetryDelay).toBe(100_000)
  })
})
