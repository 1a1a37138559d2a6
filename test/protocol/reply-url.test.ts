import { describe, expect, it } from 'vitest'
import { newGuid } from '../../lib/protocol/guid.ts'
import { checkReplyUrl, readReplyTarget, replyReference } from '../../lib/protocol/reply-url.ts'

const id = newGuid()
const tail = `BITS-Sessions/Replies/${encodeURIComponent(id)}/responsefile.bin`

describe('where a reply stands', () => {
  it('is found again, whatever its path, case and escapes', () => {
    expect(replyReference(id)).toBe(tail)
    for (const [target, folder] of [
      [`/${tail}`, '/'],
      [`/upload/a%20b/${tail}`, '/upload/a%20b/'],
      [`http://files.example/upload/${tail}`, 'http://files.example/upload/'],
      [`/upload/${tail}?a=b`, '/upload/'],
      [`/upload/BITS-Sessions/Replies/${id}/responsefile.bin`, '/upload/'],
      [`/upload/bits-sessions/replies/${encodeURIComponent(id).toLowerCase()}/RESPONSEFILE.BIN`, '/upload/'],
    ] as const) {
      expect(readReplyTarget(target), target).toEqual({ id, folder })
    }
  })

  it.each([
    ['another session’s', `/${tail.replace(/%7B./, '%7B')}`],
    ['escaped twice', `/${tail.replace('%7B', '%257B')}`],
    ['without braces', `/BITS-Sessions/Replies/${id.slice(1, -1)}/responsefile.bin`],
    ['with an escaped separator', `/${tail.replace('/', '%2F')}`],
    ['with backslashes', `/${tail.replaceAll('/', '\\')}`],
    ['in a query', `/upload/search?for=/${tail}`],
    ['in a fragment', `/upload/#/${tail}`],
    ['with more behind', `/${tail}/x`],
    ['with more before', `/upload/X${tail}`],
    ['without a folder', tail],
  ])('is not a look-alike %s', (_, target) => {
    expect(readReplyTarget(target)).toBeUndefined()
  })
})

describe('the URL of a reply that stands elsewhere', () => {
  it('goes to the client as it is', () => {
    for (const url of ['http://x', 'HTTPS://X:443/a/../b?{c}', 'http://x/'.padEnd(2200, 'y')]) {
      expect(checkReplyUrl(url)).toBe(url)
    }
  })

  it.each([
    ['is relative', '/ready'],
    ['has another scheme', 'ftp://x/'],
    ['has no host', 'http://:80/'],
    ['has a line feed', 'http://x/\r\nX: y'],
    ['has a space', 'http://x/a b'],
    ['is not ASCII', 'http://x/ü'],
    ['is too long', 'http://x/'.padEnd(2201, 'y')],
    ['is none', undefined],
  ])('is refused if it %s', (_, url) => {
    expect(() => checkReplyUrl(url)).toThrow(expect.objectContaining({ code: 'invalid-reply' }))
  })
})
