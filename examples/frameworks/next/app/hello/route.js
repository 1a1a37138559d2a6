export const GET = () => new Response('Hello')

export const POST = async (request) => Response.json(await request.json())
